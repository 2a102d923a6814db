"""The pilot's own images, asked and searched by their originals and by their tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fwd2bot_core.errors import NotInArchive
from infra.installation import Installation
from tasks import kpi_report
from tasks.kpi_pilot import pilot, shared
from tests.houses import COLLECTION, night


def test_tokens_that_are_kept_exactly_find_and_answer_as_the_originals(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    files = photos(12)
    made = house()
    night(made)
    files[0].unlink()
    found = pilot(made, COLLECTION, 12, stage=kpi_report.stage_of(made, COLLECTION))
    assert (found.drawn, found.judged, found.stage) == (12, 11, "none")
    assert sum(found.problems.values()) == 1
    assert found.neighbours == 1.0
    assert (found.same, found.share, found.mean) == (found.probes, 1.0, 1.0)
    assert found.interval[0] < 1.0
    told = kpi_report.gather(made, COLLECTION, found)
    assert "word for word alike" in kpi_report.as_html(told)
    assert told.as_json()["pilot"]["share"] == 1.0


def test_rounded_tokens_are_compared_as_they_are_stored(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(8)
    made = house(**{f"collections.{COLLECTION}": {"codec": "bits2"}})
    with pytest.raises(NotInArchive, match="fwd2bot night"):
        pilot(made, COLLECTION, 8)
    night(made)
    found = pilot(made, COLLECTION, 8)
    assert found.judged == 8
    assert found.neighbours is not None


def test_neighbours_that_are_others_are_counted() -> None:
    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(40, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    other = chance.permutation(vectors)
    assert shared(vectors, vectors) == 1.0
    assert (found := shared(vectors, other)) is not None
    assert found < 0.4
    assert shared(vectors[:6], vectors[:6]) is None

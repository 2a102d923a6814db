"""Figures of fidelity over many images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.installation import Installation
from infra.scores import Scores, scores
from infra.tables import shards, summaries
from tests.tasks.steps import committed, planned

GIVEN = [0.0, 0.05, 0.1, 0.55, 0.899999, 0.9, 1.0]


@pytest.fixture
def judged(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Installation:
    """Eight images, seven of them with a fidelity."""
    photos(8)
    installation = house()
    run, _, found = planned(installation)
    committed(installation, run, found)
    with installation.ledger.write() as connection:
        for row, fidelity in enumerate(GIVEN):
            mine = summaries.c.row == row
            connection.execute(summaries.update().where(mine).values(fidelity=fidelity))
    return installation


def test_scores_are_counted_in_tenths_and_below_the_threshold(judged: Installation) -> None:
    with judged.ledger.read() as connection:
        found = scores(connection, threshold=0.9)
        higher = scores(connection, threshold=1.0)
    assert found == Scores(
        judged=7,
        below=5,
        threshold=0.9,
        mean=pytest.approx(sum(GIVEN) / 7, abs=1e-6),
        lowest=0.0,
        tenths=[2, 1, 0, 0, 0, 1, 0, 0, 1, 2],
    )
    assert higher is not None
    assert higher.below == 6


def test_what_was_not_judged_has_no_scores(judged: Installation) -> None:
    with judged.ledger.write() as connection:
        assert scores(connection, shards.c.run_id == "another", threshold=0.9) is None
        connection.execute(summaries.update().values(fidelity=sa.null()))
        assert scores(connection, threshold=0.9) is None

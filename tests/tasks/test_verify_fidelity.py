"""A fidelity that somebody bettered in the tables does not agree with what the log says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from infra.installation import Installation
from infra.tables import probe_sets, shards, summaries
from tasks.verify import Finding, verify
from tests.houses import COLLECTION, night
from tests.tasks.steps import rows

PROBES = ["is it whole ?", "which lot ?"]
BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture
def made(house: BuildHouse, photos: Photos) -> Installation:
    """Twenty images, some of them judged."""
    photos(20)
    installation = house(**{f"collections.{COLLECTION}.fidelity": {"sample": 0.5, "probes": PROBES}})
    night(installation)
    assert findings(installation) == ()
    return installation


def findings(house: Installation) -> tuple[Finding, ...]:
    return verify(house.ledger, house.archive).findings


def alter(house: Installation, statement: sa.Update | sa.Delete | sa.Insert) -> None:
    with house.ledger.write() as connection:
        assert connection.execute(statement).rowcount > 0


@pytest.mark.parametrize(
    "values",
    [
        {"fidelity": 0.25},
        {"fidelity": None, "worst_probe": None, "probe_set_id": None},
        {"worst_probe": 7},
        {"probe_set_id": None},
        {"fidelity": float("inf")},
    ],
)
def test_a_judged_image_whose_judgement_was_altered(made: Installation, values: dict[str, Any]) -> None:
    judged = rows(made, sa.select(summaries).where(summaries.c.fidelity.is_not(None)))[0]
    mine = summaries.c.object_version_id == judged.object_version_id
    alter(made, summaries.update().where(mine).values(**values))
    (finding,) = findings(made)
    assert (finding.what, finding.name) == ("summaries", rows(made, shards)[0].path)
    assert f"of 1 rows (row {judged.row}) than" in finding.problem


def test_an_image_that_nobody_judged_said_to_be_faithful(made: Installation) -> None:
    alter(made, summaries.update().where(summaries.c.fidelity.is_(None)).values(fidelity=1.0))
    (finding,) = findings(made)
    assert "the table summaries was altered" in finding.problem


def test_other_questions_under_the_hash_of_the_probes(made: Installation) -> None:
    alter(made, probe_sets.update().values(questions='["is it there ?", "which lot ?"]'))
    (finding,) = findings(made)
    assert finding.what == "probes"

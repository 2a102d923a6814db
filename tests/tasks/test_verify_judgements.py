"""Figures of quality that somebody bettered in the tables do not agree with what the log says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from infra.installation import Installation
from infra.tables import audit_values, label_checks, probe_sets, shards, summaries
from tasks.labels import check_labels
from tasks.verify import Finding, verify
from tests.houses import COLLECTION, night
from tests.tasks.steps import rows

PROBES = ["is it whole ?", "which lot ?"]
BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture
def made(house: BuildHouse, photos: Photos, tmp_path: Path) -> Installation:
    """Twenty images, some of them judged, and two checks of labels."""
    photos(20)
    installation = house(**{f"collections.{COLLECTION}.fidelity": {"sample": 0.5, "probes": PROBES}})
    night(installation)
    for answer in ("one", "two"):
        file = tmp_path / "labels.jsonl"
        file.write_text(json.dumps({"key": "0000.jpg", "question": "which lot ?", "answer": answer}) + "\n")
        check_labels(installation, COLLECTION, file, at_least=0.9)
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


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"passed": True}, "passed"),
        ({"right_answers": 1, "questions": 2}, "questions and right_answers"),
        ({"at_least": 0.5}, "at_least"),
        ({"codec": "int8"}, "codec"),
        ({"labels_sha256": "0" * 64}, "labels_sha256"),
        ({"kinds": '{"question": [1, 1]}'}, "kinds"),
    ],
)
def test_a_check_that_was_bettered(made: Installation, values: dict[str, Any], named: str) -> None:
    alter(made, label_checks.update().where(label_checks.c.id == 2).values(**values))
    (finding,) = findings(made)
    assert (finding.what, finding.name) == ("label check", "2")
    assert f"says another {named}: " in finding.problem


def test_a_check_without_its_event_and_an_event_without_its_check(made: Installation) -> None:
    first = dict(rows(made, label_checks)[0]._mapping)
    alter(made, label_checks.delete().where(label_checks.c.id == 1))
    (finding,) = findings(made)
    assert "the ledger has no such check" in finding.problem
    alter(made, label_checks.insert().values(**first))
    assert findings(made) == ()
    alter(made, label_checks.insert().values(**first | {"id": 3}))
    assert [(finding.what, finding.name) for finding in findings(made)] == [("label check", "3")]


def test_names_that_were_erased_from_the_log_are_still_clean(made: Installation) -> None:
    alter(made, audit_values.delete())
    assert findings(made) == ()

"""A check of labels that somebody bettered in the table does not agree with what the log says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.installation import Installation
from infra.tables import audit_values, label_checks
from tasks.labels import check_labels
from tests.houses import COLLECTION, night
from tests.tasks.steps import rows
from tests.tasks.test_verify_fidelity import alter, findings


@pytest.fixture
def made(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> Installation:
    """Two checks of labels."""
    photos(1)
    installation = house()
    night(installation)
    for answer in ("one", "two"):
        file = tmp_path / "labels.jsonl"
        file.write_text(json.dumps({"key": "0000.jpg", "question": "which lot ?", "answer": answer}) + "\n")
        check_labels(installation, COLLECTION, file, at_least=0.9)
    assert findings(installation) == ()
    return installation


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

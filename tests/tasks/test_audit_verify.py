"""Verification of the log says VALID of what is, and of everything else exactly what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.audit.verdicts import Verdict
from infra.installation import Installation
from tasks.audit_verify import verify_log
from tests.tasks.audit_logs import grow, sign


@pytest.fixture
def log(house: Callable[..., Installation], ledger_url: str, tmp_path: Path) -> Installation:
    """600 events and the key's; three checkpoints in one anchor, the last over all of them."""
    (tmp_path / "vault").mkdir()
    made = house(
        archive={"ledger": ledger_url},
        audit__anchors__vault={"kind": "directory", "place": str(tmp_path / "vault")},
    )
    for count in (299, 200, 100):
        grow(made, count)
        sign(made)
    return made


def test_a_log_as_it_was_written_is_valid(log: Installation) -> None:
    told: list[tuple[int, int]] = []
    found = verify_log(log, progress=lambda *done: told.append(done))
    assert (found.findings, found.verdict, found.acceptable) == ((), Verdict.VALID, True)
    assert (found.since, found.events, found.anchored_to) == (0, 600, 600)
    assert found.checkpoints == 6  # three in the ledger, three outside
    assert told == [(600, 600)]

"""The summary of a retention run: the gravest of what happened is its exit code, and each problem is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwd2bot_core.errors import ExitCode
from infra import audit_log
from tasks.reconcile import Finding, Kind, Reconciled
from tasks.retention_summary import RetentionSummary
from tasks.retention_turn import Did, OneList, Turn
from tasks.summary import Anchored
from tests.flows.retentions import make_site, run
from tests.houses import COLLECTION
from tests.tasks.disposals import World


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    root = tmp_path / "site"
    return make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch)


def test_an_original_that_is_gone_makes_the_run_fail(plain: World) -> None:
    row = plain.row(plain.numbers[0])
    plain.store.before = lambda info: None
    plain.store.delete_version(plain.store.stat(row.key))
    done = run(plain)
    assert done.exit_code == ExitCode.INTEGRITY
    assert f"{COLLECTION}: 1 originals missing" in done.problems


def _summary(**fields: object) -> RetentionSummary:
    return RetentionSummary(run_id="r", begun_at=audit_log.now(), acted=True, **fields)  # type: ignore[arg-type]


def _looked(kind: Kind) -> Reconciled:
    found = Reconciled(COLLECTION, whole=False)
    found.add(Finding(kind, COLLECTION, "k", "v:1", "d"))
    return found


@pytest.mark.parametrize(
    ("fields", "code", "problems"),
    [
        ({}, ExitCode.OK, 0),
        ({"reconciled": [_looked(Kind.ORPHAN)]}, ExitCode.OK, 0),
        ({"reconciled": [_looked(Kind.UNCLEAR)]}, ExitCode.PARTLY_FAILED, 1),
        ({"reconciled": [_looked(Kind.ZOMBIE)]}, ExitCode.INTEGRITY, 1),
        ({"unreconciled": {COLLECTION: "away"}}, ExitCode.PARTLY_FAILED, 1),
        ({"audit": Anchored(failed={"vault": "away"})}, ExitCode.PARTLY_FAILED, 1),
        ({"audit": Anchored(problem="no", contradiction=True)}, ExitCode.INTEGRITY, 1),
        (
            {"turns": [Turn("p", problem="no", exit_code=ExitCode.BLOCKED_BY_POLICY)]},
            ExitCode.BLOCKED_BY_POLICY,
            1,
        ),
        ({"turns": [Turn("p", Did.CARRIED_OUT, [OneList("l", "c", kept=3)])]}, ExitCode.OK, 0),
        (
            {
                "turns": [
                    Turn(
                        "p", Did.CARRIED_OUT, [OneList("l", "c", unknown=1)], exit_code=ExitCode.PARTLY_FAILED
                    )
                ]
            },
            ExitCode.PARTLY_FAILED,
            1,
        ),
    ],
)
def test_the_gravest_is_the_exit_code(fields: dict[str, object], code: ExitCode, problems: int) -> None:
    found = _summary(**fields)
    assert (found.exit_code, len(found.problems)) == (code, problems)
    assert found.as_dict()["exit_code"] == code

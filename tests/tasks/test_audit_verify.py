"""Verification of the log says VALID of what is, and of everything else exactly what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import UsageError
from infra.installation import Installation
from tasks.audit_verify import last_checkpoint, verify_log
from tests.tasks.audit_logs import (
    altered,
    at,
    bodies,
    execute,
    grow,
    named,
    rewrite,
    sign,
    vault,
    verdicts,
)

M, U, N = Verdict.MODIFIED, Verdict.UNREADABLE, Verdict.NOT_YET_ANCHORED
Build = Callable[..., Installation]


def test_a_log_as_it_was_written_is_valid(log_on_each: Installation) -> None:
    log = log_on_each
    told: list[tuple[int, int]] = []
    found = verify_log(log, progress=lambda *done: told.append(done))
    assert (found.findings, found.verdict, found.acceptable) == ((), Verdict.VALID, True)
    assert (found.since, found.events, found.anchored_to) == (0, 600, 600)
    assert found.checkpoints == 6  # three in the ledger, three outside
    assert told == [(600, 600)]


def test_an_empty_log_is_valid(house: Build, tmp_path: Path) -> None:
    found = verify_log(house(**vault(tmp_path)))
    assert (found.findings, found.events, found.anchored_to) == ((), 0, 0)


def test_events_after_the_last_anchored_checkpoint_are_named_and_no_alarm(log: Installation) -> None:
    grow(log, 7)
    found = verify_log(log)
    (finding,) = found.findings
    assert (finding.verdict, finding.seq, finding.until) == (N, 600, 606)
    assert (found.acceptable, found.anchored_to) == (True, 600)


def test_without_an_anchor_nothing_is_anchored(house: Build) -> None:
    made = house()
    grow(made, 9)
    sign(made)
    found = verify_log(made)
    (finding,) = found.findings
    assert (finding.verdict, finding.seq, finding.until) == (N, 0, 9)
    assert (found.acceptable, found.anchored_to, found.checkpoints) == (True, 0, 1)


def test_since_the_last_checkpoint_only_new_events_are_read(log_on_each: Installation) -> None:
    log = log_on_each
    grow(log, 10)
    assert last_checkpoint(log) == 600
    execute(log, at(5).values(body=altered(bodies(log)[5], reason_text="a lie")))  # read by a full one only
    found = verify_log(log, since=600)
    assert (named(found), found.since, found.events, found.anchored_to) == (set(), 600, 10, 600)
    execute(log, at(605).values(body=altered(bodies(log)[605], reason_text="a lie")))
    assert verdicts(log, since=600) == {(M, 605)}
    assert verdicts(log) == {(M, 5), (M, 605)}


def test_since_starts_from_hashes_that_the_checkpoint_bears_out(log: Installation) -> None:
    """Whoever changes an old event with its leaf is caught by a partial verification too, and exactly."""
    lied = bodies(log)
    lied[5] = altered(lied[5], reason_text="a lie")
    rewrite(log, lied)
    assert verdicts(log, since=600) == {(M, 5)}


def test_since_what_nobody_signed_is_refused(log: Installation) -> None:
    with pytest.raises(UsageError, match="no signed checkpoint of 450 events"):
        verify_log(log, since=450)


def test_the_command_says_it_and_ends_with_its_code(
    log: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["audit", "verify", "--config", str(tmp_path / "fwd2bot.toml"), *words])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, said = run()
    assert code == 0
    assert "VALID" in said
    assert "Only one anchor" in said
    grow(log, 3)
    code, said = run("--since-last", "--json")
    told = json.loads(said)
    assert (code, told["verdict"], told["since"], told["events"]) == (0, "NOT YET ANCHORED", 600, 3)
    execute(log, at(70).values(type="image.destroyed"))
    code, said = run("--json")
    (finding, _) = json.loads(said)["findings"]
    assert (code, finding["verdict"], finding["seq"], finding["where"]) == (
        5,
        "MODIFIED",
        70,
        "audit_events.type",
    )
    code, said = run()
    assert code == 5
    assert "MODIFIED" in said

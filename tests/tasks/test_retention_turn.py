"""One policy's turn: what is kept and why, what must not go, who may list, what an ended policy left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwd2bot_core.errors import ExitCode
from infra.retention_tables import disposition_items, disposition_lists, policies
from tasks.retention_turn import Did
from tests.flows.retentions import make_site, run
from tests.tasks.disposals import Crash, World, crash_at
from tests.tasks.steps import rows


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    root = tmp_path / "site"
    return make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch)


def test_what_a_list_keeps_is_told_with_its_reason(plain: World) -> None:
    plain.list(plain.numbers)
    plain.hold(plain.numbers[0])
    plain.may_go = set(plain.numbers[1:])
    done = run(plain)
    (one,) = done.lists(Did.CARRIED_OUT)
    assert (one.objects, one.kept, one.reasons) == (2, 1, {"policy": 1})
    assert done.exit_code == ExitCode.OK
    assert plain.violations() == []


def test_a_list_that_must_not_go_is_told_and_stops_no_other(plain: World) -> None:
    bad = plain.list(plain.numbers[:1], signed=1)
    plain.list(plain.numbers[1:])
    plain.may_go = set(plain.numbers[1:])
    done = run(plain)
    assert done.counts()["destroyed"]["objects"] == 2
    assert done.exit_code == ExitCode.BLOCKED_BY_POLICY
    assert [problem for problem in done.problems if bad in problem and "approvals" in problem]
    assert plain.violations() == []


def test_nobody_to_make_a_list_is_a_problem_and_no_list(plain: World) -> None:
    done = run(plain, author=None)
    assert (done.exit_code, rows(plain.house, disposition_lists)) == (ExitCode.USAGE, [])
    assert "retention.author" in done.message
    denied = run(plain, author="Ann")  # may approve, and not list
    assert (denied.exit_code, rows(plain.house, disposition_lists)) == (ExitCode.BLOCKED_BY_POLICY, [])


def test_an_intent_of_a_policy_that_ended_is_taken_back(
    plain: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = plain.list(plain.numbers[:1])
    crash_at(monkeypatch, "destroy.anchored")
    with pytest.raises(Crash):
        plain.run(name)
    plain.write(policies.update().values(state="retired"))
    done = run(plain)
    assert [turn.did for turn in done.turns] == [Did.CARRIED_OUT]
    assert done.exit_code == ExitCode.BLOCKED_BY_POLICY
    assert [row.state for row in rows(plain.house, disposition_items)] == ["blocked"]
    assert plain.present(plain.numbers[0])


def test_a_policy_that_only_observes_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "site"
    watching = make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch, rollout={"stage": "observe"})
    done = run(watching)
    assert [turn.did for turn in done.turns] == [Did.OBSERVED]
    assert rows(watching.house, disposition_lists) == []
    assert done.turns[0].reasons

"""A turn is failed by what went wrong, never by what waits."""

from __future__ import annotations

import pytest

from fwd2bot_core.errors import ExitCode
from infra.tables import RunState
from tasks.backfill_turn import Turn
from tasks.backfill_work import Standstill

BASE = {"run_id": "r", "collection": "c", "kind": "backfill", "night": "2026-03-01", "compressor": "f"}


@pytest.mark.parametrize(
    ("facts", "state", "code"),
    [
        ({"compressed": 5, "left": 100}, RunState.COMPLETED, ExitCode.OK),
        ({"left": 100}, RunState.COMPLETED, ExitCode.OK),
        ({"compressed": 5, "failed": 1}, RunState.PARTLY_FAILED, ExitCode.PARTLY_FAILED),
        (
            {"compressed": 5, "broken": ["StoreUnreachable: x"]},
            RunState.PARTLY_FAILED,
            ExitCode.PARTLY_FAILED,
        ),
        ({"broken": ["StoreUnreachable: x"]}, RunState.FAILED, ExitCode.FAILED),
        ({"compressed": 5, "broken": ["IntegrityError: x"]}, RunState.PARTLY_FAILED, ExitCode.INTEGRITY),
    ],
)
def test_its_state(facts: dict[str, object], state: RunState, code: ExitCode) -> None:
    turn = Turn(**BASE | facts)  # type: ignore[arg-type]
    assert (turn.state, turn.exit_code) == (state, code)


def test_it_says_what_it_did_and_why_it_ended() -> None:
    turn = Turn(
        **BASE,  # type: ignore[arg-type]
        compressed=1234,
        failed=2,
        reasons={"empty": 2},
        what="backfill-1",
        stands=Standstill("a night works on line-1", passes=True),
    )
    assert turn.message == (
        "1,234 compressed, 2 failed (empty 2), backfill-1, stands still: a night works on line-1"
    )
    assert turn.to_dict()["stands"] == {"why": "a night works on line-1", "passes": True}

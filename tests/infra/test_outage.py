"""A ledger that goes away for a moment, and one that stays away."""

from __future__ import annotations

import pytest

from fwd2bot_core.errors import LeaseLost, LedgerUnreachable
from infra.outage import once_back


class Away:
    """Not there for so many questions."""

    def __init__(self, times: int, error: Exception) -> None:
        self._times, self._error = times, error
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return "there"


def test_it_is_asked_until_it_is_back() -> None:
    action = Away(3, LedgerUnreachable("the server is starting up"))
    assert once_back(action) == "there"
    assert action.asked == 4


def test_one_that_stays_away_is_said() -> None:
    action = Away(10**6, LedgerUnreachable("no answer"))
    with pytest.raises(LedgerUnreachable, match="no answer"):
        once_back(action, seconds=0.2)


def test_what_no_waiting_mends_is_raised_at_once() -> None:
    action = Away(1, LeaseLost("another run took over"))
    with pytest.raises(LeaseLost):
        once_back(action)
    assert action.asked == 1

"""Findings are sharpened, counted and weighed."""

from __future__ import annotations

from collections.abc import Callable

from fwd2bot_core.audit.verdicts import Finding, Found, Verdict, sharpened
from infra.installation import Installation

M, U, N = Verdict.MODIFIED, Verdict.UNREADABLE, Verdict.NOT_YET_ANCHORED
Build = Callable[..., Installation]


def test_a_window_gives_way_to_what_is_more_exact() -> None:
    window = Finding(M, 10, 20, "", "a", somewhere=True)
    inside, outside = Finding(M, 15, None, "", "b"), Finding(M, 25, None, "", "b")
    other = Finding(Verdict.FORKED, 15, None, "", "b")
    assert sharpened([window, outside, other]) == (window, other, outside)
    assert sharpened([window, inside, other]) == (other, inside)
    assert sharpened([Finding(M, 10, 20, "", "a"), inside]) == (Finding(M, 10, 20, "", "a"), inside)


def test_many_findings_of_one_kind_are_counted() -> None:
    found = Found(most=2)
    for seq in range(5):
        found.add(Finding(M, seq, None, "", "here"))
    found.add(Finding(U, None, None, "", "there"))
    assert [one.seq for one in found.all()] == [0, 1, None, None]
    assert found.all()[-1].detail == "and 3 more, up to event 4"

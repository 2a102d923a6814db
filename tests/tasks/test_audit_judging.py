"""Classes follow from what was signed, by whom, and how long the log is; without a database."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from fwd2bot_core.audit.verdicts import Verdict
from infra.audit_growth import Tree
from infra.audit_restores import Restore
from tasks.audit_anchored import Run
from tasks.audit_bodies import Bodies
from tasks.audit_judging import Judge
from tasks.audit_statements import OWN, Statement
from tasks.audit_told import Told, Trace

LEAVES = [sha256(str(number).encode()).digest() for number in range(40)]
M, T, F = Verdict.MODIFIED, Verdict.TRUNCATED, Verdict.FORKED
R, N = Verdict.RESTORED_FROM_BACKUP, Verdict.NOT_YET_ANCHORED
BAD = bytes(32)


def root(size: int) -> bytes:
    tree = Tree(0, [])
    tree.add(LEAVES[:size])
    return tree.root()


def judged(
    *signed: tuple[int, bytes | None, str], rows: int = 40, runs: Any = None, **told: Any
) -> set[tuple[Verdict, int | None, int | None]]:
    """Class, first and last event of each finding over a log of ``rows`` events."""
    tree = Tree(0, [])
    tree.add(LEAVES[:rows])
    bodies = Bodies(0, tree, {size: root(size) for size in range(1, rows + 1)})
    told = {"traces": [], "restores": [], "head": rows, "frontier": tree.frontier().dump()} | told
    snapshot = Told(rows=rows, spans=[], checkpoints=[], findings=[], **told)
    judge = Judge(snapshot, bodies, [Statement(*one) for one in sorted(signed)], lambda *_: runs)
    return {(one.verdict, one.seq, one.until) for one in judge.judge()}


def test_what_agrees_is_silent() -> None:
    assert judged((20, root(20), OWN), (40, root(40), "vault")) == set()
    assert judged((20, root(20), "vault"), (40, root(40), OWN)) == {(N, 20, 39)}


def test_the_window_lies_between_what_is_said_outside() -> None:
    """The ledger's own checkpoints in between may be forged: they narrow nothing, and are caught as a fork."""
    anchored = [(10, root(10), "witness"), (30, BAD, "witness")]
    assert judged(*anchored, rows=30) == {(M, 10, 29)}
    assert judged(*anchored, (20, root(20), OWN), rows=30) == {(M, 10, 29)}
    assert judged(*anchored, (30, root(30), OWN), rows=30) == {(M, 10, 29), (F, 10, 29)}


def test_a_wrong_checkpoint_of_the_ledgers_own_is_told_of_within_its_own_window() -> None:
    assert judged((20, root(20), OWN), (30, BAD, OWN), rows=30) == {(M, 20, 29), (N, 0, 29)}


def test_tiles_name_the_events_themselves() -> None:
    runs = [Run(12, 12), Run(15, 17)]
    found = judged((10, root(10), "vault"), (40, BAD, "vault"), runs=runs)
    assert found == {(M, 12, None), (M, 15, 17)}


def test_two_anchors_that_contradict_each_other_are_a_fork() -> None:
    found = judged((40, root(40), "a"), (40, BAD, "b"))
    assert {one[0] for one in found} == {M, F}


def test_a_shorter_log_is_restored_unless_something_in_it_is_later() -> None:
    later = (60, BAD, "vault")
    assert judged(later) == {(R, 40, 59), (N, 0, 39)}
    assert judged(later, traces=[Trace(None, "run x began")]) == {(T, 40, 59), (N, 0, 39)}
    assert judged(later, runs=[Run(33, 39)]) == {(M, 33, 39), (T, 40, 59), (N, 0, 39)}
    assert judged(later, runs=[]) == {(R, 40, 59)}  # its tiles hold the very events that are left
    assert judged((50, None, "witness")) == {(R, 40, 49), (N, 0, 39)}
    assert judged(traces=[Trace(41, "audit_segments")]) == {(T, 40, 40), (N, 0, 39)}
    assert judged(traces=[Trace(None, "run x ended")]) == {(T, 40, None), (N, 0, 39)}


def test_a_recorded_loss_excuses_what_it_names() -> None:
    lost = Restore(20, "2026", 20, 59, frozenset({(60, BAD), (30, BAD)}), "disk")
    excused = [(30, BAD, "vault"), (60, BAD, "vault"), (55, None, "witness")]
    assert judged(*excused, restores=[lost]) == {(R, 20, 59), (N, 0, 39)}
    assert judged((35, BAD, "vault"), restores=[lost]) == {(R, 20, 59), (M, 0, 34), (N, 35, 39)}


def test_a_head_that_counts_fewer_is_told_of() -> None:
    assert judged((40, root(40), "a"), head=38) == {(M, 38, 39)}
    assert judged((40, root(40), "a"), frontier=b"") == {(M, None, None)}

"""Reading the audit log's bodies again: what each row says of itself, and the tree that the bodies really give.

Each body is hashed and parsed once; its columns and its stored leaf are held against it, each complete node of the tree
against the stored one. Believes nothing of the ledger but the bytes of the bodies. Streams: memory stays flat. Knows
nothing about signatures, or about what is kept outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from json import JSONDecoder
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.tiles import WIDTH
from fwd2bot_core.audit.verdicts import Finding, Found, Verdict
from fwd2bot_core.errors import LedgerError
from infra.audit_growth import Node, Tree
from infra.database import Ledger
from infra.tables import audit_nodes

PAGE = 16 * WIDTH  # events in memory at once
MISSING = bytes(32)  # stands for the leaf of an event that is not there; no body has it
_COLUMNS = ("event_id", "type", "occurred_at", "run_id")
_TIME = {  # as the body writes it, made by the database: parsing it here would take longer than all the rest
    "sqlite": "substr(occurred_at, 1, 10) || 'T' || substr(occurred_at, 12) || 'Z'",
    "postgresql": "to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
}
_decode = JSONDecoder().raw_decode


@dataclass(slots=True)
class Bodies:
    """What the bodies of the events from ``first`` up to ``tree.size`` gave."""

    first: int
    tree: Tree
    roots: dict[int, bytes] = field(default_factory=dict)  # size -> root, at the sizes that were asked for
    found: Found = field(default_factory=Found)


def read_bodies(
    ledger: Ledger,
    tree: Tree,
    last: int,
    *,
    sizes: Collection[int],
    tolerance: float,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Bodies:
    """Read the events from ``tree.size`` up to, not including, ``last``; ``tree`` grows by them.

    ``sizes``: where roots are wanted. ``tolerance``: seconds that the clock may go back unremarked. Each page has a
    transaction of its own, since what was appended once does not change. Rows that cannot be read end the reading
    with an ``UNREADABLE`` finding.
    """
    read = Bodies(tree.size, tree, {tree.size: tree.root()})
    clock, stops = _Clock(timedelta(seconds=tolerance)), sorted(sizes)
    while tree.size < last:
        start, end = tree.size, min(tree.size + PAGE, last)
        try:
            with ledger.read() as connection:
                leaves = _check(_rows(connection, start, end), start, end, clock, read.found)
                _check_nodes(connection, _grow(read, leaves, stops), read.found)
        except LedgerError as error:
            read.found.add(Finding(Verdict.UNREADABLE, start, last - 1, f"{error}", "audit_events"))
            break
        progress(tree.size - read.first, last - read.first)
    return read


def leaves(ledger: Ledger, first: int, last: int) -> Iterator[bytes]:
    """The leaf hashes that the bodies give, ``MISSING`` where there is none: a second look at some of them."""
    for start in range(first, last, PAGE):
        end = min(start + PAGE, last)
        with ledger.read() as connection:
            bodies = {row[0]: row[5] for row in _rows(connection, start, end)}
        yield from (_leaf(bodies.get(seq)) for seq in range(start, end))


def _rows(connection: sa.Connection, first: int, last: int) -> Sequence[Sequence[Any]]:
    """(seq, event_id, type, occurred_at, run_id, body, leaf) as the driver gives them, in order."""
    at = _TIME[connection.dialect.name]
    page = sa.text(
        f"SELECT seq, event_id, type, {at}, run_id, body, leaf FROM audit_events "  # noqa: S608
        "WHERE seq >= :first AND seq < :last ORDER BY seq"
    )
    return connection.execute(page, {"first": first, "last": last}).all()


def _check(rows: Sequence[Sequence[Any]], first: int, last: int, clock: _Clock, found: Found) -> list[bytes]:
    """The leaf of each event. The loop is long on purpose: a call a row would take a third of its time."""
    sha256, decode, hashes = hashlib.sha256, _decode, list[bytes]()
    for row in rows:
        seq, event_id, type, at, run_id, body, leaf = row
        try:
            hashed = sha256(b"\x00" + body).digest()
            text = body.decode()
            said, end = decode(text)
            right = (
                hashed == leaf
                and said["seq"] == seq
                and said["event_id"] == event_id
                and said["type"] == type
                and said["occurred_at"] == at
                and said.get("run_id") == run_id
                and end == len(text)
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            hashed, right = _leaf(body), False
        if not right:
            found.add(_what_is_wrong(row))
        elif at < clock.latest:
            clock.went_back(seq, at, found)
        else:
            clock.latest = at
        hashes.append(hashed)
    return hashes if len(rows) == last - first else _with_gaps(rows, hashes, first, last, found)


def _with_gaps(
    rows: Sequence[Sequence[Any]], hashes: list[bytes], first: int, last: int, found: Found
) -> list[bytes]:
    """The leaves with a placeholder for each missing event, so that the others keep their places."""
    there = dict(zip((row[0] for row in rows), hashes, strict=True))
    edges = [first - 1, *there, last]
    for before, after in pairwise(edges):
        if after - before > 1:
            until = None if after - before == 2 else after - 1
            detail = (
                "missing: the log goes on after it"
                if until is None
                else "missing: the log goes on after them"
            )
            found.add(Finding(Verdict.MODIFIED, before + 1, until, detail, "audit_events"))
    return [there.get(seq, MISSING) for seq in range(first, last)]


def _leaf(body: Any) -> bytes:
    return leaf_hash(body) if isinstance(body, bytes) else MISSING


def _what_is_wrong(row: Sequence[Any]) -> Finding:
    """One row that does not agree with itself."""
    seq, *columns, body, leaf = row

    def modified(detail: str, where: str = "audit_events.body") -> Finding:
        return Finding(Verdict.MODIFIED, seq, None, detail, where)

    if _leaf(body) != leaf:
        return modified("its body does not give the leaf hash that is stored beside it")
    try:
        said, end = _decode(body.decode())
        wrong = [name for name, value in zip(_COLUMNS, columns, strict=True) if said.get(name) != value]
    except (ValueError, AttributeError, RecursionError) as error:
        return modified(f"its body is no audit record: {error}")
    if end != len(body.decode()):
        return modified("its body goes on after the audit record")
    if said.get("seq") != seq:
        return modified(f"its body says that it is number {said.get('seq')}")
    named = " and ".join(f"audit_events.{name}" for name in wrong)
    return modified(f"{named} does not say what the body says, which was hashed", named)


def _grow(read: Bodies, leaves: list[bytes], stops: list[int]) -> list[Node]:
    """Let the tree grow by a page, with a rest at each size whose root is wanted; the nodes that became complete."""
    start, done = read.tree.size, list[Node]()
    end = start + len(leaves)
    for stop in [*(stop for stop in stops if start <= stop < end), end]:
        done += read.tree.add(leaves[read.tree.size - start : stop - start])
        read.roots[stop] = read.tree.root()
    return done


def _check_nodes(connection: sa.Connection, nodes: list[Node], found: Found) -> None:
    """Each computed node against the stored one."""
    for level, of_level in groupby(sorted(nodes), key=lambda node: node[0]):
        computed = {number: digest for _, number, digest in of_level}
        kept = sa.select(audit_nodes.c.number, audit_nodes.c.hash).where(
            audit_nodes.c.level == level,
            audit_nodes.c.number.between(min(computed), max(computed)),
        )
        stored = {row.number: row.hash for row in connection.execute(kept)}
        for number, digest in computed.items():
            if stored.get(number) != digest:
                found.add(_bad_node(level, number, number in stored))


def _bad_node(level: int, number: int, there: bool) -> Finding:
    under = WIDTH**level
    detail = f"node {number} of level {level} of the tree " + (
        "is not what the bodies under it give" if there else "is missing"
    )
    return Finding(
        Verdict.MODIFIED, number * under, (number + 1) * under - 1, detail, "audit_nodes", somewhere=True
    )


@dataclass(slots=True)
class _Clock:
    """Times must not go back by more than ``tolerance``. After a jump the new time counts, so that a clock that was
    wrong for a while is told of once."""

    tolerance: timedelta
    latest: str = ""

    def went_back(self, seq: int, at: str, found: Found) -> None:
        back = datetime.fromisoformat(self.latest) - datetime.fromisoformat(at)
        if back > self.tolerance:
            detail = (
                f"its time {at} is {back} before {self.latest}, which an earlier event has; look at the clock"
            )
            found.add(Finding(Verdict.CLOCK_SUSPECT, seq, None, detail, "occurred_at"))
            self.latest = at

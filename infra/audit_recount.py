"""The log computed again from its events' bodies, before anything is signed: stored hashes are not believed.

Knows leaves, nodes, the frontier, and the roots that earlier checkpoints named. Knows nothing about signatures or
where those checkpoints came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import sqlalchemy as sa

from fwd2bot_core.audit.merkle import Frontier, frontier_of, leaf_hash
from fwd2bot_core.audit.tiles import WIDTH
from fwd2bot_core.errors import IntegrityError
from infra.audit_tree import SqlTree
from infra.tables import audit_events, audit_head, audit_nodes

_PAGE = 1000  # bodies in memory at once
_LOOK = "Nothing was signed; run `fwd2bot audit verify`."


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody saw of this log before."""

    size: int
    root: bytes | None  # None: only the size is known
    where: str  # for the message


class Growth:
    """A tree that grows leaf by leaf; of each level of tiles the frontier of its last, incomplete tile."""

    def __init__(self, start: Frontier) -> None:
        self.size = start.size
        self._edges: list[Frontier] = []
        peaks, size = list(start.peaks), start.size
        while size:
            width = size % WIDTH
            first = len(peaks) - width.bit_count()
            self._edges.append(Frontier(width, peaks[first:]))
            peaks, size = peaks[:first], size // WIDTH

    def add(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """The nodes that this leaf completes: level (over 256 ** level leaves), number, hash."""
        self.size += 1
        done, digest = list[tuple[int, int, bytes]](), leaf
        for level in count():
            if level == len(self._edges):
                self._edges.append(Frontier.empty())
            edge = self._edges[level]
            edge.append(digest)
            if edge.size < WIDTH:
                break
            digest = edge.root()
            self._edges[level] = Frontier.empty()
            done.append((level + 1, self.size // WIDTH ** (level + 1) - 1, digest))
        return done

    def frontier(self) -> Frontier:
        return Frontier(self.size, [peak for edge in reversed(self._edges) for peak in edge.peaks])


def recount(connection: sa.Connection, base: Known | None, known: Sequence[Known]) -> Frontier:
    """The log's frontier now, from bodies since ``base``, the newest checkpoint that the ledger itself has.

    Reads from one snapshot. Raises ``IntegrityError`` naming sizes and places unless the log extends ``base`` and
    everything ``known``, and its stored leaves, nodes and head are what the bodies give.
    """
    head = connection.execute(sa.select(audit_head.c.size, audit_head.c.frontier)).one()
    _refuse_larger(head.size, [*known, *([base] if base else [])])
    start = frontier_of(base.size, SqlTree(connection).subtree) if base else Frontier.empty()
    if base:
        _compare(start, [base])
    for size in sorted({one.size for one in known if one.size < start.size}):
        _compare(frontier_of(size, SqlTree(connection).subtree), known)
    growth = Growth(start)
    _compare(start, known)
    wanted = {one.size for one in known}
    for leaf in _leaves(connection, start.size, head.size):
        _compare_nodes(connection, growth.add(leaf))
        if growth.size in wanted:
            _compare(growth.frontier(), known)
    if growth.frontier().dump() != head.frontier:
        raise IntegrityError(f"the audit log's head is not what its {head.size:,} events give. {_LOOK}")
    return growth.frontier()


def _refuse_larger(size: int, known: Iterable[Known]) -> None:
    ahead = max(known, key=lambda one: one.size, default=None)
    if ahead is not None and ahead.size > size:
        raise IntegrityError(
            f"{ahead.where} has seen {ahead.size:,} events of this log, and the ledger holds {size:,}: it was put "
            "back to an older state, or cut off. Nothing was signed; restore the newest ledger"
        )


def _compare(found: Frontier, known: Iterable[Known]) -> None:
    for one in known:
        if one.size == found.size and one.root not in (None, found.root()):
            raise IntegrityError(
                f"{one.where} holds a checkpoint of {one.size:,} events with another root than the ledger's first "
                f"{one.size:,} events give: the log was changed or forked. {_LOOK}"
            )


def _leaves(connection: sa.Connection, first: int, last: int) -> Iterator[bytes]:
    """Leaf hashes from the bodies; raises ``IntegrityError`` at the first event that is missing or changed."""
    for start in range(first, last, _PAGE):
        end = min(start + _PAGE, last)
        page = sa.select(audit_events.c.seq, audit_events.c.body, audit_events.c.leaf)
        page = page.where(audit_events.c.seq >= start, audit_events.c.seq < end).order_by(audit_events.c.seq)
        rows = connection.execute(page).all()
        for seq, row in enumerate(rows, start):
            leaf = leaf_hash(row.body)
            if row.seq != seq or leaf != row.leaf:
                wrong = "is missing" if row.seq != seq else "is not what was logged"
                raise IntegrityError(f"event {seq:,} of the audit log {wrong}. {_LOOK}")
            yield leaf
        if len(rows) < end - start:
            raise IntegrityError(f"event {start + len(rows):,} of the audit log is missing. {_LOOK}")


def _compare_nodes(connection: sa.Connection, nodes: Iterable[tuple[int, int, bytes]]) -> None:
    for level, number, digest in nodes:
        stored = sa.select(audit_nodes.c.hash)
        stored = stored.where(audit_nodes.c.level == level, audit_nodes.c.number == number)
        if connection.execute(stored).scalar_one_or_none() != digest:
            raise IntegrityError(
                f"node {number:,} of level {level} of the audit log is not what its events give. {_LOOK}"
            )

"""The log computed again from its events' bodies, before anything is signed: stored hashes are not believed.

Knows leaves, nodes, the frontier, and the roots that earlier checkpoints named. Knows nothing about signatures or
where those checkpoints came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sqlalchemy as sa

from fwd2bot_core.audit.merkle import Frontier, frontier_of, leaf_hash
from fwd2bot_core.errors import IntegrityError
from infra.audit_growth import Node, Tree
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


def recount(connection: sa.Connection, base: Known | None, known: Sequence[Known]) -> Frontier:
    """The log's frontier now, from bodies since ``base``, the newest checkpoint that the ledger itself has.

    Reads from one snapshot. Raises ``IntegrityError`` naming sizes and places unless the log extends ``base`` and
    everything ``known``, and its stored leaves, nodes and head are what the bodies give.
    """
    head = connection.execute(sa.select(audit_head.c.size, audit_head.c.frontier)).one()
    _refuse_larger(head.size, [*known, *([base] if base else [])])
    tree = Tree.stored(connection, base.size) if base else Tree(0, [])
    if base:
        _compare(tree.frontier(), [base])
    for size in sorted({one.size for one in known if one.size < tree.size}):
        _compare(frontier_of(size, SqlTree(connection).subtree), known)
    _compare(tree.frontier(), known)
    for leaves in _leaves(connection, tree.size, head.size, {one.size for one in known}):
        _compare_nodes(connection, tree.add(leaves))
        _compare(tree.frontier(), known)
    if tree.frontier().dump() != head.frontier:
        raise IntegrityError(f"the audit log's head is not what its {head.size:,} events give. {_LOOK}")
    return tree.frontier()


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


def _leaves(connection: sa.Connection, first: int, last: int, stops: Iterable[int]) -> Iterator[list[bytes]]:
    """Leaf hashes from the bodies, page by page, with a page's end at each of ``stops``; raises ``IntegrityError`` at
    the first event that is missing or changed."""
    ends = {*range(first + _PAGE, last, _PAGE), *(stop for stop in stops if first < stop < last), last}
    for start, end in pairwise(sorted({first, *ends})):
        page = sa.select(audit_events.c.seq, audit_events.c.body, audit_events.c.leaf)
        page = page.where(audit_events.c.seq >= start, audit_events.c.seq < end).order_by(audit_events.c.seq)
        rows = connection.execute(page).all()
        leaves = [leaf_hash(row.body) for row in rows]
        for seq, (row, leaf) in enumerate(zip(rows, leaves, strict=True), start):
            if row.seq != seq or leaf != row.leaf:
                wrong = "is missing" if row.seq != seq else "is not what was logged"
                raise IntegrityError(f"event {seq:,} of the audit log {wrong}. {_LOOK}")
        if len(rows) < end - start:
            raise IntegrityError(f"event {start + len(rows):,} of the audit log is missing. {_LOOK}")
        yield leaves


def _compare_nodes(connection: sa.Connection, nodes: Iterable[Node]) -> None:
    for level, number, digest in nodes:
        stored = sa.select(audit_nodes.c.hash)
        stored = stored.where(audit_nodes.c.level == level, audit_nodes.c.number == number)
        if connection.execute(stored).scalar_one_or_none() != digest:
            raise IntegrityError(
                f"node {number:,} of level {level} of the audit log is not what its events give. {_LOOK}"
            )

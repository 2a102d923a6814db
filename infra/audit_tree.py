"""The log's Merkle tree as the database keeps it: subtrees, tiles, roots and proofs in few row reads.

Leaves stand beside their events, the roots over complete 256, 256 x 256, ... of them in ``audit_nodes``; what
lies between is hashed again. Believes both: whoever signs or judges recomputes them from the events' bodies,
and a proof made here is worth what it shows against a signed root. Knows nothing about signatures.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from fwd2bot_core.audit.merkle import consistency_proof, frontier_of, inclusion_proof
from fwd2bot_core.audit.tiles import WIDTH, TiledSubtrees
from fwd2bot_core.errors import IntegrityError
from infra.tables import audit_events, audit_nodes

_PAGE = 4096  # leaves in memory at once


class SqlTree(TiledSubtrees):
    """The tree as one transaction sees it; keep one for many proofs, since it reads each tile once."""

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(self._stored)
        self._connection = connection

    def tile(self, level: int, number: int, width: int = WIDTH) -> bytes:
        """The first ``width`` hashes of a tile, 32 bytes each; raises ``IntegrityError`` if there are fewer."""
        hashes = self._stored(level, number, width)
        if len(hashes) < width:
            raise _missing(level, number * WIDTH + len(hashes))
        return b"".join(hashes)

    def leaves(self, first: int, last: int) -> Iterator[bytes]:
        """The leaf hashes of the events from ``first`` up to, not including, ``last``; memory stays flat.

        Raises ``IntegrityError`` at the first one that is missing.
        """
        for start in range(first, last, _PAGE):
            end = min(start + _PAGE, last)
            found = _hashes(self._connection, 0, start, end)
            yield from found
            if len(found) < end - start:
                raise _missing(0, start + len(found))

    def _stored(self, level: int, number: int, width: int = WIDTH) -> list[bytes]:
        return _hashes(self._connection, level, number * WIDTH, number * WIDTH + width)


def prove_event(connection: sa.Connection, seq: int, size: int) -> list[bytes]:
    """The path from event ``seq`` to the root that the log had at ``size`` events.

    Raises ``ValueError`` unless ``0 <= seq < size``, ``IntegrityError`` for a log that lacks what it needs.
    """
    return inclusion_proof(seq, size, SqlTree(connection).subtree)


def prove_consistency(connection: sa.Connection, old: int, size: int) -> list[bytes]:
    """What shows that the log's first ``size`` events begin with its first ``old`` ones.

    Raises ``ValueError`` unless ``0 <= old <= size``, ``IntegrityError`` for a log that lacks what it needs.
    """
    return consistency_proof(old, size, SqlTree(connection).subtree)


def root_at(connection: sa.Connection, size: int) -> bytes:
    """The root, 32 bytes, that the log had at ``size`` events, by its stored leaves and nodes.

    Raises ``IntegrityError`` for a log that lacks what it needs.
    """
    return frontier_of(size, SqlTree(connection).subtree).root()


def _hashes(connection: sa.Connection, level: int, first: int, last: int) -> list[bytes]:
    """The stored hashes from ``first`` up to ``last`` at a tile level, as far as none is missing."""
    place = audit_events.c.seq if level == 0 else audit_nodes.c.number
    kept = audit_events.c.leaf if level == 0 else audit_nodes.c.hash
    wanted = sa.select(place, kept).where(place >= first, place < last).order_by(place)
    if level:
        wanted = wanted.where(audit_nodes.c.level == level)
    rows = connection.execute(wanted).all()
    return [digest for at, (number, digest) in enumerate(rows, first) if number == at]


def _missing(level: int, number: int) -> IntegrityError:
    what = f"event {number}" if level == 0 else f"node {number} of level {level}"
    return IntegrityError(f"the audit log has no {what}; run 'fwd2bot audit verify' to learn what is missing")

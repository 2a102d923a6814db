"""What the audit log says about one original, fact by fact, and whether each is proven.

A fact is proven when it leads to the newest signed checkpoint: for a line of an audit segment first to the root that
its event names, then from the event to the checkpoint's root. Everything is computed from the exact bytes. Knows
nothing about what the ledger's other tables say.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.merkle import inclusion_proof, leaf_hash, verify_inclusion
from fwd2bot_core.errors import IntegrityError
from infra import audit_keys
from infra.audit_tree import SqlTree
from infra.checkpoints import newest
from infra.installation import Installation
from infra.lookup import find
from infra.tables import audit_events
from tasks.timeline import Fact, timeline


class Standing(StrEnum):
    """How a fact stands to the newest checkpoint."""

    PROVEN = "proven"
    UNSIGNED = "not signed for yet"
    WRONG = "NOT PROVEN"  # the log, the segment or the checkpoint is not what it was


def proven_life(house: Installation, image: str, collection: str | None = None) -> list[list[dict[str, Any]]]:
    """For each version of an image, oldest first, its facts in the order of the log, as plain JSON values.

    Each has the number of its ``event``, its type and time, what it says (the fields of a segment's line, or of an
    event's subject), the ``segment`` it is in, how it stands to the newest checkpoint (``proof``), and that one's size
    (``checkpoint``). Raises ``NotInArchive``; ``IntegrityError`` for a segment that is not the committed one, and
    ``ObjectMissing`` for one that is gone.
    """
    with house.ledger.read() as connection:
        log = _Log(connection)
        return [
            [log.told(fact) for fact in timeline(connection, house.archive, version)]
            for version in find(connection, image, collection)
        ]


class _Log:
    """The log in one snapshot, with its newest checkpoint."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection, self._tree = connection, SqlTree(connection)
        row = newest(connection)
        self._size = row.size if row is not None else 0
        self._checkpoint = _opened(connection, row) if row is not None else None

    def told(self, fact: Fact) -> dict[str, Any]:
        """One fact for people and machines."""
        body = self._connection.execute(
            sa.select(audit_events.c.body).where(audit_events.c.seq == fact.seq)
        ).scalar_one()
        event = parse(bytes(body))
        said = parse(fact.body) if fact.segment is not None else event.get("subject") or {}
        return {
            **said,
            "event": fact.seq,
            "type": event["type"],
            "occurred_at": event["occurred_at"],
            "segment": fact.segment,
            "proof": str(self._standing(fact, bytes(body), event)),
            "checkpoint": self._size,
        }

    def _standing(self, fact: Fact, body: bytes, event: dict[str, Any]) -> Standing:
        if fact.segment is not None and not _is_in_segment(fact, event):
            return Standing.WRONG
        if fact.seq >= self._size:
            return Standing.UNSIGNED
        return Standing.PROVEN if self._is_in_log(fact.seq, body) else Standing.WRONG

    def _is_in_log(self, seq: int, body: bytes) -> bool:
        if self._checkpoint is None:
            return False
        try:
            path = inclusion_proof(seq, self._size, self._tree.subtree)
        except IntegrityError:  # the stored tree has a hole
            return False
        return verify_inclusion(leaf_hash(body), seq, self._size, path, self._checkpoint.root)


def _opened(connection: sa.Connection, row: sa.Row[Any]) -> Checkpoint | None:
    """The stored checkpoint, if a key of the log signed it and it says what its row says."""
    try:
        found = checkpoints.read(row.note, audit_keys.verifiers(connection, size=row.size))
    except IntegrityError:
        return None
    return found if found.size == row.size else None


def _is_in_segment(fact: Fact, event: dict[str, Any]) -> bool:
    """Whether the line leads to the root that the event itself names, whatever the ledger's table of segments says."""
    named = (event.get("after") or {}).get("segment") or {}
    if (named.get("path"), named.get("rows")) != (fact.segment, fact.rows):
        return False
    root = bytes.fromhex(named["subroot"])
    return verify_inclusion(leaf_hash(fact.body), fact.index, fact.rows, fact.proof, root)

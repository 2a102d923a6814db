"""Restores of the ledger from a backup, as the audit log itself records them: what was lost, and since when.

After a restore the log goes on from an older state of itself: what was signed over the lost events can never agree with
it again. An event ``log.restored`` names these signed states one by one, so that nothing else is excused by it. Knows
how the event is written and found. Knows nothing about how a loss is established.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event, rfc3339
from infra import audit_log
from infra.tables import audit_events

RESTORED = "log.restored"
_RUN = "log.restored"  # stands as run in these events: that column has an index, the type has none


@dataclass(frozen=True, slots=True)
class Restore:
    """One restore. ``first`` to ``last`` are the numbers, both included, whose old events are gone."""

    seq: int  # of the event that records it
    at: str  # when that was, RFC 3339
    first: int
    last: int
    lost: frozenset[tuple[int, bytes]]  # (size, root) of every signed state that is not this log's any more
    reason: str

    def explains(self, size: int, root: bytes | None) -> bool:
        """Whether a signed state, of which the root may not be known, is one that was lost then."""
        if root is None:
            return self.first < size <= self.last + 1
        return (size, root) in self.lost


def record(
    connection: sa.Connection,
    *,
    first: int,
    last: int,
    lost: Collection[tuple[int, bytes]],
    reason: str,
    actor: Actor,
) -> Restore:
    """Append the event, which must become number ``first``: the first one of the log's next life.

    ``last``: the last event that anybody outside knew of. ``lost``: the signed states of more than ``first`` events;
    empty where only a witness is left, who told no root. ``before`` is the head that was lost, ``after`` the one that
    the log goes on from.
    """
    known = [root for size, root in lost if size == last + 1]
    event = Event(
        type=RESTORED,
        occurred_at=audit_log.now(),
        actor=actor,
        run_id=_RUN,
        subject={
            "first": first,
            "last": last,
            "checkpoints": [{"size": size, "root": root.hex()} for size, root in sorted(lost)],
        },
        before={"size": last + 1} | ({"root": known[0].hex()} if known else {}),
        after={"size": first, "life": len(restores(connection)) + 2},
        reason_code="restored_from_backup",
        reason_text=reason,
    )
    seq = audit_log.append(connection, event)
    return Restore(seq, rfc3339(event.occurred_at), first, last, frozenset(lost), reason)


def restores(connection: sa.Connection) -> list[Restore]:
    """All that are recorded, oldest first; an event that was altered until it says nothing of the kind is left out."""
    rows = connection.execute(
        sa.select(audit_events.c.seq, audit_events.c.body)
        .where(audit_events.c.run_id == _RUN, audit_events.c.type == RESTORED)
        .order_by(audit_events.c.seq)
    )
    read = (_read(row.seq, row.body) for row in rows)
    return [found for found in read if found is not None]


def _read(seq: int, data: bytes) -> Restore | None:
    try:
        body: dict[str, Any] = json.loads(data)
        said = body["subject"]
        lost = frozenset((int(one["size"]), bytes.fromhex(one["root"])) for one in said["checkpoints"])
        found = Restore(
            seq, body["occurred_at"], int(said["first"]), int(said["last"]), lost, body["reason_text"]
        )
    except (ValueError, LookupError, TypeError):
        return None
    return found if body.get("type") == RESTORED and found.first == seq else None  # its first one

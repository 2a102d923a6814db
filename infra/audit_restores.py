"""Restores of the ledger from a backup, as the audit log itself records them: what was lost, and since when.

After a restore the log goes on from an older state of itself: what was signed over the lost events can never agree with
it again. An event ``log.restored`` names these signed states one by one, so that nothing else is excused by it. Where
nothing signed tells of the loss and only the archive does, the event says so, and excuses no signed state at all. Knows
how the event is written and found. Knows nothing about how a loss is established.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import leaf_hash
from infra import audit_log
from infra.pairing import Head
from infra.tables import audit_events

RESTORED = "log.restored"
_STATES = 400  # that one event names: 85 bytes each, and an event has room for 65,535
_PATHS = 100  # of segments that it names; the newest ones
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
    leaf: str = ""  # hash of the event, hex
    seen: tuple[int, str | None] | None = (
        None  # events and newest leaf (hex) that the archive had seen before it
    )
    signed: bool = True  # False: nothing but the archive told of the lost events

    @property
    def known_as(self) -> str:
        """What names this record and no other, by its hash: a loss that grew has another one."""
        return f"{self.seq}:{self.leaf[:16]}"

    def explains(self, size: int, root: bytes | None) -> bool:
        """Whether a signed state, of which the root may not be known, is one that was lost then."""
        if root is None:
            return self.signed and self.first < size <= self.last + 1
        return (size, root) in self.lost


def record(
    connection: sa.Connection,
    *,
    first: int,
    last: int,
    lost: Collection[tuple[int, bytes]],
    reason: str,
    actor: Actor,
    seen: Head | None = None,
    segments: Sequence[str] = (),
    signed: bool = True,
) -> Restore:
    """Append the event, which must become number ``first``: the first one of the log's next life.

    ``last``: the last event that anybody outside knew of. ``lost``: the signed states of more than ``first`` events;
    empty where only a witness is left, who told no root; where one event cannot name them all, several do, of which the
    first one is returned. ``seen``: what the archive says of the log, if it contradicts; ``segments``: paths in it that
    no event names. Unless ``signed``, nothing but the archive tells of the loss. ``before`` is the head that was lost,
    ``after`` the one that the log goes on from.
    """
    states, at = sorted(lost), audit_log.now()
    known = [root for size, root in states if size == last + 1]
    common = partial(
        Event,
        type=RESTORED,
        occurred_at=at,
        actor=actor,
        run_id=_RUN,
        before={"size": last + 1} | ({"root": known[0].hex()} if known else {}),
        reason_code="restored_from_backup",
        reason_text=reason,
    )
    life = len(restores(connection)) + 2
    parts = [states[start : start + _STATES] for start in range(0, len(states), _STATES)] or [[]]
    told = _told_by_the_archive(seen, segments, signed)
    events = [
        common(subject=_subject(number, last, part) | told, after={"size": number, "life": life})
        for number, part in enumerate(parts, first)
    ]
    seq = audit_log.append_all(connection, events)
    return next(one for one in restores(connection) if one.seq == seq)


def _subject(first: int, last: int, states: Sequence[tuple[int, bytes]]) -> dict[str, Any]:
    named = [{"size": size, "root": root.hex()} for size, root in states]
    return {"first": first, "last": last, "checkpoints": named}


def _told_by_the_archive(seen: Head | None, segments: Sequence[str], signed: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"evidence": "signed" if signed else "archive"}
    if seen is not None:
        said["archive"] = {"events": seen.events, "leaf": seen.leaf}
    if segments:
        said["segments"] = {"count": len(segments), "newest": sorted(segments)[-_PATHS:]}
    return said


def restores(connection: sa.Connection) -> list[Restore]:
    """All that are recorded, oldest first; an event that was altered until it says nothing of the kind is left out."""
    read = (_read(row.seq, bytes(row.body)) for row in _rows(connection))
    return [found for found in read if found is not None]


def losses(connection: sa.Connection) -> list[bytes]:
    """The exact bodies of the events that record restores, oldest first."""
    return [bytes(row.body) for row in _rows(connection)]


def _rows(connection: sa.Connection) -> Sequence[Any]:
    return connection.execute(
        sa.select(audit_events.c.seq, audit_events.c.body)
        .where(audit_events.c.run_id == _RUN, audit_events.c.type == RESTORED)
        .order_by(audit_events.c.seq)
    ).all()


def _read(seq: int, data: bytes) -> Restore | None:
    try:
        body: dict[str, Any] = json.loads(data)
        said = body["subject"]
        lost = frozenset((int(one["size"]), bytes.fromhex(one["root"])) for one in said["checkpoints"])
        archive = said.get("archive")
        found = Restore(
            seq,
            body["occurred_at"],
            int(said["first"]),
            int(said["last"]),
            lost,
            body["reason_text"],
            leaf_hash(data).hex(),
            None if archive is None else (int(archive["events"]), archive["leaf"]),
            said.get("evidence", "signed") == "signed",  # older events do not say it, and all were
        )
    except (ValueError, LookupError, TypeError):
        return None
    return found if body.get("type") == RESTORED and found.first == seq else None  # its first one

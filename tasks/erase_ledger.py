"""What the ledger says of photos that are erased: their intents, and then nothing that names them.

An object version keeps its number and how many facts the log holds about it, so that the log can still be checked; its
key, identity, hash and salt go, and with the salt whatever the log could say of them. Knows tables and events. Knows
nothing of stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.retention.erasure import ItemState
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.erasure_tables import erasure_items
from infra.lookup import MIN_DIGITS
from infra.retention_tables import disposition_items, object_dates, object_facts, object_tags
from infra.tables import (
    audit_states,
    audit_values,
    batches,
    collections,
    contents,
    failures,
    object_versions,
    summaries,
    work,
)
from tasks import facts
from tasks.erasure import ERASED

_PLAIN = (object_facts, object_dates, object_tags)


def intend(connection: sa.Connection, erasure_id: str, actor: Actor, units: Sequence[Unit]) -> None:
    """An intent for each; a night does not begin with one that has it."""
    _events(connection, erasure_id, actor, units, "erasure.intended", ItemState.INTENT, "intent_seq")


def withdraw(
    connection: sa.Connection, erasure_id: str, actor: Actor, units: Sequence[Unit], why: str
) -> None:
    """Intents taken back, since something forbids them now."""
    _events(connection, erasure_id, actor, units, "erasure.withdrawn", ItemState.PLANNED, "intent_seq", why)


def forget(connection: sa.Connection, erasure_id: str, actor: Actor, units: Sequence[Unit]) -> dict[str, int]:
    """The end of what is known of them: an event each, and then all that names them; how many rows of what went."""
    numbers = [unit.object_version_id for unit in units]
    seqs = _events(
        connection, erasure_id, actor, units, "erasure.confirmed", ItemState.ERASED, "confirmed_seq"
    )
    words = {unit.key for unit in units} | {unit.content_sha256 or unit.key for unit in units}
    gone = {"values": _values(connection, words), "secrets": _secrets(connection)}
    for table in _PLAIN:
        mine = table.c.object_version_id.in_(numbers)
        gone[table.name] = connection.execute(table.delete().where(mine)).rowcount
    _scrub_words(connection, numbers)
    _tombstones(connection, units, seqs)
    unread = sorted({unit.content_sha256 for unit in units if unit.content_sha256 is not None})
    gone["contents"] = connection.execute(contents.delete().where(contents.c.sha256.in_(unread))).rowcount
    return gone


def left(connection: sa.Connection, units: Sequence[Unit]) -> list[str]:
    """What the ledger still says of them after all, in words; it must be nothing."""
    numbers = [unit.object_version_id for unit in units]
    known = {unit.content_sha256 for unit in units if unit.content_sha256 is not None}
    places = {(unit.collection, unit.key, unit.identity) for unit in units}
    photo, found = object_versions.c, []
    for number, name, key, identity in connection.execute(
        sa.select(photo.id, collections.c.name, photo.key, photo.identity)
        .join(collections, collections.c.id == photo.collection_id)
        .where(photo.key.in_([unit.key for unit in units]))
    ):
        if (name, key, identity) in places:
            found.append(f"object version {number}")
    asked = {
        "a content": sa.select(contents.c.sha256).where(contents.c.sha256.in_(known)),
        "a version with its content": sa.select(photo.id).where(photo.content_sha256.in_(known)),
        "summary tokens": sa.select(summaries.c.row).where(summaries.c.object_version_id.in_(numbers)),
        "a value of the log": sa.select(audit_values.c.ref).where(audit_values.c.value.in_(known)),
    }
    found += [what for what, query in asked.items() if connection.execute(query.limit(1)).first()]
    return found


def _events(
    connection: sa.Connection,
    erasure_id: str,
    actor: Actor,
    units: Sequence[Unit],
    type: str,
    state: ItemState,
    column: str,
    why: str | None = None,
) -> dict[int, int]:
    """One each, and the item's new state; the events' numbers by object version."""
    if not units:
        return {}
    named, at = facts.subjects(connection, units), audit_log.now()
    events = [
        Event(
            type=type,
            occurred_at=at,
            actor=actor,
            collection=audit_log.reference(connection, "collection", unit.collection),
            subject=named[unit.object_version_id],
            after={"erasure": erasure_id, "state": str(state)},
            reason_code=why,
        )
        for unit in units
    ]
    first = audit_log.append_all(connection, events)
    seqs = {unit.object_version_id: seq for seq, unit in enumerate(units, first)}
    mine = sa.and_(
        erasure_items.c.erasure_id == erasure_id, erasure_items.c.object_version_id == sa.bindparam("number")
    )
    values = {"state": state, "changed_at": at, column: sa.bindparam("seq")}
    rows = [
        {"number": number, "seq": None if state is ItemState.PLANNED else seq} for number, seq in seqs.items()
    ]
    connection.execute(erasure_items.update().where(mine).values(values), rows)
    return seqs


def _values(connection: sa.Connection, words: set[str]) -> int:
    """What stands for names in the log: those that are one of these words, or a command's that named one of them."""
    rows = connection.execute(sa.select(audit_values).where(audit_values.c.kind == "subject")).all()
    refs = [row.ref for row in rows if _names(row.value.removeprefix("image "), words)]
    gone = sa.or_(audit_values.c.value.in_(sorted(words)), audit_values.c.ref.in_(refs))
    return int(connection.execute(audit_values.delete().where(gone)).rowcount)


def _names(said: str, words: set[str]) -> bool:
    begins = len(said) >= MIN_DIGITS and any(len(word) == 64 and word.startswith(said) for word in words)
    return said in words or begins


def _secrets(connection: sa.Connection) -> int:
    """Of all nightly lists: with one, whoever knows a key can find out that it was there."""
    kept = sa.func.length(audit_states.c.secret) > 0
    return int(connection.execute(audit_states.update().where(kept).values(secret=b"")).rowcount)


def _scrub_words(connection: sa.Connection, numbers: Sequence[int]) -> None:
    """Messages of stores and decoders may quote a key."""
    mine = failures.c.object_version_id.in_(numbers)
    connection.execute(failures.update().where(mine).values(detail=ERASED))
    listed = disposition_items.c.object_version_id.in_(numbers)
    connection.execute(disposition_items.update().where(listed).values(detail=None))
    its = sa.union(
        sa.select(work.c.batch_id).where(work.c.object_version_id.in_(numbers)),
        sa.select(failures.c.batch_id).where(mine),
    )
    connection.execute(batches.update().where(batches.c.id.in_(its)).values(error=None))


def _tombstones(connection: sa.Connection, units: Sequence[Unit], seqs: dict[int, int]) -> None:
    """The numbers stay: the log counts by them. No listing names such a key and identity, so none finds it again."""
    mine, at = object_versions.c.id == sa.bindparam("number"), audit_log.now()
    photo = object_versions.c
    values: dict[str, Any] = {
        "key": sa.bindparam("stone"),
        "identity": ERASED,
        "salt": b"",
        "content_sha256": None,
        "superseded_at": sa.func.coalesce(
            photo.superseded_at, sa.bindparam("at", type_=photo.superseded_at.type)
        ),
        "destroyed_seq": sa.func.coalesce(photo.destroyed_seq, sa.bindparam("seq")),
    }
    rows = [
        {"number": unit.object_version_id, "stone": f"{ERASED}/{unit.object_version_id}", "at": at,
         "seq": seqs[unit.object_version_id]}
        for unit in units
    ]  # fmt: skip
    connection.execute(object_versions.update().where(mine).values(values), rows)

"""Originals of photos that are erased, and the lists that name them: deleted, and looked for once more.

A store without versions is not touched by us: what is to go there is named, and somebody removes it. Reads and deletes
objects; of the ledger it knows only which lists there are. Decides nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import ObjectMissing, StoreError
from fwd2bot_core.retention.disposition import ItemState
from fwd2bot_core.tokens.shard import read_rows
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.crashpoints import reach
from infra.installation import Installation
from infra.objects import ObjectInfo, ObjectStore, Versions
from infra.retention_tables import disposition_items, disposition_lists
from infra.sources.containers import Containers
from infra.tables import shards, work
from tasks import destroy_store
from tasks.destroy_order import Item
from tasks.destroy_store import Answer
from tasks.erase_tokens import delete_all, held, rewrites_of
from tasks.erasure import ERASED

BY_HAND = (
    "its store has no versions, so it is not deleted by this software: remove the file, then run this again"
)


@dataclass(frozen=True, slots=True)
class Remains:
    """Something that is still there."""

    number: int | None  # object version; None: of several
    what: str


def delete_original(store: ObjectStore, unit: Unit) -> str | None:
    """Delete exactly this version, and every other one of its key with the very same bytes. None where that was done;
    else why not. What a store answers proves nothing: ``remains`` asks again."""
    if isinstance(store, Containers):
        store.forget(unit.key)  # what is kept of a container names the photos in it
    if not _named(unit):
        return None if _there(store, unit) is False else BY_HAND
    try:
        copies = [info for info in held(store, unit.key) if _is_copy(store, info, unit)]
        answers = [destroy_store.delete(store, _item(unit))]
        for info in copies:
            store.delete_version(info)
        if all(info.marker for info in held(store, unit.key)):
            delete_all(store, unit.key)  # markers alone keep nothing but its name
    except ObjectMissing:
        return None
    except StoreError as error:
        return str(error)
    return "the store refuses: a lock, a hold, or no right" if Answer.FORBIDDEN in answers else None


def redact_lists(house: Installation, erasure_id: str, role: str, units: Sequence[Unit]) -> int:
    """Delete the manifests of ended lists that name one of them; what was signed about a list stays signed."""
    numbers = [unit.object_version_id for unit in units]
    mine = sa.select(disposition_items.c.list_id).where(disposition_items.c.object_version_id.in_(numbers))
    kept = disposition_lists.c.path.not_like(f"{ERASED}:%")
    with house.ledger.read() as connection:
        rows = connection.execute(
            sa.select(disposition_lists).where(disposition_lists.c.id.in_(mine), kept)
        ).all()
    for row in rows:
        delete_all(house.archive, row.path)
        with house.ledger.write() as connection:
            audit_log.hold(connection)
            its = disposition_lists.c.id == row.id
            connection.execute(disposition_lists.update().where(its).values(path=f"{ERASED}:{row.id}"))
            event = Event(
                type="list.redacted",
                occurred_at=audit_log.now(),
                actor=audit_log.actor(connection, role),
                subject={"list": row.id, "list_sha256": row.sha256},
                after={"erasure": erasure_id},
            )
            audit_log.append(connection, event)
        reach("erase.list-redacted")
    return len(rows)


def remains(house: Installation, erasure_id: str, units: Sequence[Unit]) -> list[Remains]:
    """Everything of these photos that a store still holds, each asked for again; empty if there is nothing."""
    found = []
    for unit in units:
        if (what := _original_left(house, unit)) is not None:
            found.append(Remains(unit.object_version_id, what))
    for row in rewrites_of(house, erasure_id):
        if held(house.archive, row.old_path):
            found.append(Remains(None, f"the shard {row.old_path}, which holds tokens that were erased"))
    return found + _tokens_left(house, units)


def _original_left(house: Installation, unit: Unit) -> str | None:
    """An original may lie there under its own identity, or the same bytes under another of its key."""
    store = house.originals(unit.collection)
    if not _named(unit):
        there = _there(store, unit)
        return None if there is False else f"{unit.key}: {BY_HAND if there else 'its store does not answer'}"
    where = destroy_store.whereabouts(store, _item(unit))
    if where.gone is not True:
        return (
            f"{unit.key}: {'its store still holds it' if where.gone is False else 'its store does not say'}"
        )
    if any(_is_copy(store, info, unit) for info in where.others):
        return f"{unit.key}: another version of the key holds the same bytes"
    return None


def _tokens_left(house: Installation, units: Sequence[Unit]) -> list[Remains]:
    """The shards of every batch that one of them was ever in, read again."""
    numbers = {unit.object_version_id for unit in units}
    known = {unit.content_sha256 for unit in units if unit.content_sha256 is not None}
    batch = sa.select(work.c.batch_id).where(work.c.object_version_id.in_(sorted(numbers)))
    with house.ledger.read() as connection:
        query = sa.select(shards.c.path).where(shards.c.batch_id.in_(batch)).order_by(shards.c.id)
        paths = connection.execute(query).scalars().all()
    found = []
    for path in paths:
        rows = read_rows(io.BytesIO(house.archive.read(path)))
        if any(row.object_version_id in numbers or row.content_sha256 in known for row in rows):
            found.append(Remains(None, f"the shard {path} still holds tokens of one"))
    return found


def _named(unit: Unit) -> bool:
    """Whether its store calls this version by a name that is never given twice."""
    return unit.identity.startswith("v:") and unit.identity != "v:null"


def _there(store: ObjectStore, unit: Unit) -> bool | None:
    try:
        return store.stat(unit.key).identity == unit.identity
    except ObjectMissing:
        return False
    except StoreError:
        return None


def _is_copy(store: ObjectStore, info: ObjectInfo, unit: Unit) -> bool:
    if (
        info.marker
        or info.identity == unit.identity
        or info.size != unit.size
        or not isinstance(store, Versions)
    ):
        return False
    try:
        data = store.read(info.key, identity=info.identity)
    except ObjectMissing:
        return False
    return hashlib.sha256(data).hexdigest() == unit.content_sha256


def _item(unit: Unit) -> Item:
    return Item(unit, ItemState.INTENT, None, None, None, None, None, None)

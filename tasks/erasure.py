"""A person's photos that are to be erased from everywhere: planned by one person, approved by another's signature.

Every version that somebody names is meant, also where its original is gone and only tokens are left; and with it every
other version with the same bytes, since it shows the same person. Erases nothing (``erase``).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import AccessDenied, BlockedByPolicy, NotInArchive, UsageError
from fwd2bot_core.retention.erasure import MOST, ItemState, State, digest, statement
from fwd2bot_core.retention.roles import Act, Role
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.crashpoints import reach
from infra.erasure_tables import erasure_items, erasures
from infra.installation import Installation
from infra.lookup import find
from infra.tables import collections, object_versions
from tasks import members, people
from tasks.facts import unit_of


@dataclass(frozen=True, slots=True)
class Erasure:
    """One, as people look at it."""

    id: str
    state: State
    sha256: str  # what somebody signs
    objects: int
    reason: str
    made_at: datetime
    done_at: datetime | None
    done_seq: int | None


def plan(
    house: Installation,
    person: str,
    reason: str,
    images: Sequence[str] = (),
    *,
    keys: str | None = None,
    collection: str | None = None,
) -> Erasure:
    """Write down what is to be erased: keys, contents by their sha256, or a pattern of a collection's keys.

    Raises ``AccessDenied``, ``NotInArchive``, and ``UsageError`` for no photo, no reason, and more than a person's.
    """
    if not reason.strip():
        raise UsageError("say why: the number of the request, and no name, since it stays in the log")
    someone = people.permitted(house.ledger, person, Act.PLAN_ERASURE, "erasure")
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        units = with_copies(connection, _meant(connection, images, keys, collection))
        if not 0 < len(units) <= MOST:
            raise UsageError(
                f"{len(units):,} photos are meant; an erasure is about 1 to {MOST:,}. Nothing was planned"
            )
        _refuse_planned(connection, units)
        made = _insert(connection, someone, reason, units)
    reach("erase.planned")
    return made


def approve(house: Installation, erasure_id: str, person: str, reason: str, signature: str) -> Erasure:
    """Approve one by a signature over ``erasure.statement``; never by who planned it. Raises ``AccessDenied``."""
    with house.ledger.read() as connection:
        row = row_of(connection, erasure_id)
    said = statement(row.id, row.sha256, person, reason)
    what = f"erasure {erasure_id}"
    people.signed(house.ledger, person, Act.APPROVE_ERASURE, what, said, signature)
    with people.refusals(house.ledger, person, Act.APPROVE_ERASURE, what), house.ledger.write() as connection:
        audit_log.hold(connection)
        row, someone = row_of(connection, erasure_id), people.find(connection, person)
        if row.state != State.PLANNED:
            raise BlockedByPolicy(f"erasure {erasure_id} is {row.state}; it waits for no approval")
        if someone.ref == row.author_ref:
            raise AccessDenied(f"{person!r} planned erasure {erasure_id}, so somebody else must approve it")
        at = audit_log.now()
        signed = {"statement": said, "signature": signature, "approver_id": someone.id, "approved_at": at}
        move(connection, row.id, State.APPROVED, **signed)
        after = {"signature": audit_log.reference(connection, "signature", signature)}
        note(connection, someone.actor(Role.APPROVER), "erasure.approved", row, after, reason_text=reason)
        return _shown(connection, row_of(connection, erasure_id))


def refuse(house: Installation, erasure_id: str, person: str, reason: str) -> Erasure:
    """End one of which nothing was erased yet, as when the request was withdrawn. Raises ``BlockedByPolicy``."""
    someone = people.permitted(house.ledger, person, Act.PLAN_ERASURE, f"erasure {erasure_id}")
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        row = row_of(connection, erasure_id)
        if row.state not in (State.PLANNED, State.APPROVED):
            raise BlockedByPolicy(f"erasure {erasure_id} is {row.state}; there is nothing to refuse any more")
        move(connection, row.id, State.REFUSED)
        note(connection, someone.actor(), "erasure.refused", row, {}, reason_text=reason)
        return _shown(connection, row_of(connection, erasure_id))


def listed(connection: sa.Connection) -> list[Erasure]:
    """All, newest first."""
    query = sa.select(erasures).order_by(erasures.c.made_at.desc(), erasures.c.id)
    return [_shown(connection, row) for row in connection.execute(query).all()]


def row_of(connection: sa.Connection, erasure_id: str) -> sa.Row[Any]:
    """Raises ``UsageError`` for one that is not known."""
    row = connection.execute(sa.select(erasures).where(erasures.c.id == erasure_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no erasure {erasure_id!r}; `fwd2bot erasure list` shows all")
    return row


def units_of(connection: sa.Connection, erasure_id: str, *states: ItemState) -> list[Unit]:
    """Its object versions in one of these states, by number."""
    mine = erasure_items.c.erasure_id == erasure_id
    numbers = sa.select(erasure_items.c.object_version_id).where(mine, erasure_items.c.state.in_(states))
    return _units(connection, object_versions.c.id.in_(numbers))


def with_copies(connection: sa.Connection, units: Sequence[Unit]) -> list[Unit]:
    """These, and every other object version of any collection that holds the same bytes."""
    contents = sorted({unit.content_sha256 for unit in units if unit.content_sha256 is not None})
    numbers = [unit.object_version_id for unit in units]
    same = object_versions.c.content_sha256.in_(contents)
    return _units(connection, sa.or_(object_versions.c.id.in_(numbers), same))


def move(connection: sa.Connection, erasure_id: str, state: State, **values: Any) -> None:
    connection.execute(erasures.update().where(erasures.c.id == erasure_id).values(state=state, **values))


def note(
    connection: sa.Connection, actor: Any, type: str, row: sa.Row[Any], after: dict[str, Any], **fields: Any
) -> int:
    """An event about the erasure as a whole."""
    subject = {"erasure": row.id, "sha256": row.sha256}
    event = Event(type=type, occurred_at=audit_log.now(), actor=actor, subject=subject, after=after, **fields)
    return audit_log.append(connection, event)


def _meant(
    connection: sa.Connection, images: Sequence[str], keys: str | None, collection: str | None
) -> list[Unit]:
    numbers = {row.id for image in images for row in find(connection, image, collection)}
    if keys is not None:
        if collection is None:
            raise UsageError("--keys needs --collection: a pattern is about the keys of one collection")
        numbers |= set(members.matching(connection, keys, collection, gone=True))
    if not numbers:
        raise NotInArchive("no photo is named; give keys, a sha256, a list or a pattern")
    if len(numbers) > MOST:
        raise UsageError(f"{len(numbers):,} photos are meant; an erasure is about {MOST:,} at most")
    return _units(connection, object_versions.c.id.in_(sorted(numbers)))


def _refuse_planned(connection: sa.Connection, units: Sequence[Unit]) -> None:
    live = erasures.c.state.in_([State.PLANNED, State.APPROVED, State.RUNNING])
    query = (
        sa.select(erasures.c.id)
        .join(erasure_items, erasure_items.c.erasure_id == erasures.c.id)
        .where(live, erasure_items.c.object_version_id.in_([unit.object_version_id for unit in units]))
    )
    if (other := connection.execute(query).scalars().first()) is not None:
        raise UsageError(f"erasure {other} is about some of these already; carry it out, or refuse it, first")


def _insert(connection: sa.Connection, person: people.Person, reason: str, units: Sequence[Unit]) -> Erasure:
    at = audit_log.now()
    name = f"{at:%Y%m%d}-{secrets.token_hex(4)}"
    connection.execute(
        erasures.insert().values(
            id=name,
            sha256=digest(units),
            state=State.PLANNED,
            reason=reason,
            author_ref=person.ref,
            made_at=at,
        )
    )
    common = {"erasure_id": name, "state": ItemState.PLANNED, "changed_at": at}
    rows = [{"object_version_id": unit.object_version_id, **common} for unit in units]
    connection.execute(erasure_items.insert(), rows)
    row = row_of(connection, name)
    note(connection, person.actor(), "erasure.planned", row, {"objects": len(units)}, reason_text=reason)
    return _shown(connection, row)


def _units(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[Unit]:
    """By number; what was erased before is left out."""
    rows = connection.execute(
        sa.select(object_versions, collections.c.name.label("collection"))
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(where, object_versions.c.identity != ERASED)
        .order_by(object_versions.c.id)
    )
    return [unit_of(row, row.collection) for row in rows]


ERASED = "erased"  # the identity of an object version that was; no store calls one so


def _shown(connection: sa.Connection, row: sa.Row[Any]) -> Erasure:
    mine = erasure_items.c.erasure_id == row.id
    count = connection.execute(sa.select(sa.func.count()).select_from(erasure_items).where(mine)).scalar_one()
    return Erasure(
        row.id, State(row.state), row.sha256, int(count), row.reason, row.made_at, row.done_at, row.done_seq
    )

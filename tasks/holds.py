"""Legal holds: what must stay, whatever a policy or a list says.

Many named holds may lie on one object version; it is free when the last one is released. Where the store can hold
versions itself its flag says the same, so that the store decides a race with a deletion. Placing one needs a person of
compliance, releasing one their signature. Knows nothing of policies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import ObjectMissing, StoreError, UsageError
from fwd2bot_core.retention.decide import literal_brackets
from fwd2bot_core.retention.disposition import ItemState
from fwd2bot_core.retention.roles import Act, Role
from infra import audit_log
from infra.crashpoints import reach
from infra.hold_reach import reaching
from infra.installation import Installation
from infra.objects import LegalHolds, ObjectInfo
from infra.retention_tables import disposition_items, hold_members, hold_queries, legal_holds
from infra.tables import collections, object_versions
from tasks import people

CHUNK = 1000  # object versions in one statement
HELD = "hold"  # the reason of an item that a hold took off its list


@dataclass(slots=True)
class Mirrored:
    """How many versions the store itself now says the same of, and of which not, with the reason."""

    done: int = 0
    without: int = 0  # on stores that have no such flag
    failed: dict[int, str] | None = None  # by object version; run again to finish


def place(
    house: Installation,
    person: str,
    case: str,
    reason: str,
    members: Collection[int],
    *,
    confidential: bool = False,
    patterns: Collection[tuple[str, str]] = (),
) -> tuple[int, Mirrored]:
    """Hold these object versions; the hold's number and what the stores said.

    ``patterns``: collections with patterns of their keys; what comes later and matches one is held, too.
    In force once it is in the ledger, also where the store has not yet been told. Raises ``AccessDenied``, and
    ``UsageError`` for no case, no reason or no members.
    """
    if not case.strip() or not reason.strip() or not members:
        raise UsageError("a legal hold has a case, a reason and at least one original; nothing was held")
    ledger = house.ledger
    someone = people.permitted(ledger, person, Act.PLACE_HOLD, case)
    with ledger.write() as connection:
        audit_log.hold(connection)  # a destroyer writes its intents under the same lock
        number = connection.execute(
            legal_holds.insert()
            .values(
                name=case,
                reason=reason,
                author_ref=someone.ref,
                confidential=confidential,
                placed_at=audit_log.now(),
            )
            .returning(legal_holds.c.id)
        ).scalar_one()
        for part in _parts(members):
            rows = [{"hold_id": number, "object_version_id": member} for member in part]
            connection.execute(hold_members.insert(), rows)
        _remember(connection, int(number), patterns)
        blocked = _take_off_lists(connection, members)
        subject = _subject(connection, number, case)
        after = {"members": len(members), "confidential": confidential, "taken_off_lists": blocked}
        _note(connection, someone, "hold.placed", subject=subject, after=after)
    reach("hold.placed")
    return int(number), mirror(house, members)


def statement(number: int, person: str, reason: str) -> bytes:
    """The exact bytes that somebody signs to release a hold."""
    return canonical({"decision": "release", "hold": number, "person": person, "reason": reason}) + b"\n"


def release(house: Installation, number: int, person: str, reason: str, signature: str) -> Mirrored:
    """End a hold; an object version that no other one holds is free. Raises ``AccessDenied`` and ``UsageError``."""
    ledger, said = house.ledger, statement(number, person, reason)
    someone = people.signed(ledger, person, Act.RELEASE_HOLD, f"hold {number}", said, signature)
    with ledger.write() as connection:
        audit_log.hold(connection)
        found = connection.execute(sa.select(legal_holds).where(legal_holds.c.id == number)).one_or_none()
        if found is None or found.released_at is not None:
            known = "is released already" if found else "is not known"
            raise UsageError(f"hold {number} {known}; nothing was changed")
        connection.execute(
            legal_holds.update().where(legal_holds.c.id == number).values(released_at=audit_log.now())
        )
        members = list(
            connection.execute(
                sa.select(hold_members.c.object_version_id).where(hold_members.c.hold_id == number)
            ).scalars()
        )
        subject = _subject(connection, number, found.name)
        signed = audit_log.reference(connection, "signature", signature)
        after = {"members": len(members), "signature": signed}
        _note(connection, someone, "hold.released", subject=subject, after=after, reason_text=reason)
    return mirror(house, members)


def mirror(house: Installation, members: Collection[int]) -> Mirrored:
    """Make the stores' own flags say what the ledger says of these object versions. Harmless when it is so already."""
    done = Mirrored(failed={})
    assert done.failed is not None
    for part in _parts(members):
        with house.ledger.read() as connection:
            held = held_now(connection, part)
            rows = connection.execute(
                sa.select(object_versions, collections.c.name)
                .join(collections, collections.c.id == object_versions.c.collection_id)
                .where(object_versions.c.id.in_(part), object_versions.c.destroyed_seq.is_(None))
                .order_by(object_versions.c.id)
            ).all()
        for row in rows:
            _tell_store(house, row, row.id in held, done)
    return done


def held_now(connection: sa.Connection, members: Sequence[int]) -> dict[int, list[str]]:
    """The cases that hold each of these object versions now; one that nothing holds is left out."""
    found: dict[int, list[str]] = {}
    for one in reaching(connection, members):
        found.setdefault(one.number, []).append(one.name)
    return found


def catch_up(connection: sa.Connection, collection_id: int) -> int:
    """Make members of what came into a collection since the patterns of holds were last looked at; how many.

    In the transaction that wrote it down, so that no photo is known and not yet held.
    """
    query = hold_queries.c
    open_ones = sa.select(hold_queries).join(legal_holds, legal_holds.c.id == query.hold_id)
    mine = open_ones.where(query.collection_id == collection_id, legal_holds.c.released_at.is_(None))
    caught = 0
    for row in connection.execute(mine.order_by(query.hold_id)).all():
        caught += _catch(connection, row)
    return caught


def _catch(connection: sa.Connection, row: sa.Row[Any]) -> int:
    photo = object_versions.c
    new = connection.execute(
        sa.select(photo.id, photo.key)
        .where(photo.collection_id == row.collection_id, photo.id > row.seen)
        .order_by(photo.id)
    ).all()
    if not new:
        return 0
    wanted = literal_brackets(row.pattern)
    already = sa.select(hold_members.c.object_version_id).where(hold_members.c.hold_id == row.hold_id)
    there = set(connection.execute(already.where(hold_members.c.object_version_id > row.seen)).scalars())
    members = [one.id for one in new if one.id not in there and fnmatchcase(one.key, wanted)]
    its = hold_queries.c
    same = sa.and_(
        its.hold_id == row.hold_id, its.collection_id == row.collection_id, its.pattern == row.pattern
    )
    connection.execute(hold_queries.update().where(same).values(seen=new[-1].id))
    if members:
        rows = [{"hold_id": row.hold_id, "object_version_id": member} for member in members]
        connection.execute(hold_members.insert(), rows)
        name = connection.execute(
            sa.select(legal_holds.c.name).where(legal_holds.c.id == row.hold_id)
        ).scalar_one()
        event = Event(
            type="hold.caught",
            occurred_at=audit_log.now(),
            actor=audit_log.actor(connection, "scheduler"),
            subject=_subject(connection, row.hold_id, name),
            after={"members": len(members)},
        )
        audit_log.append(connection, event)
    return len(members)


def _remember(connection: sa.Connection, number: int, patterns: Collection[tuple[str, str]]) -> None:
    newest = connection.execute(sa.select(sa.func.max(object_versions.c.id))).scalar() or 0
    for collection, pattern in patterns:
        known = sa.select(collections.c.id).where(collections.c.name == collection)
        connection.execute(
            hold_queries.insert().values(
                hold_id=number,
                collection_id=connection.execute(known).scalar_one(),
                pattern=pattern,
                seen=newest,
            )
        )


def _tell_store(house: Installation, row: sa.Row[Any], held: bool, done: Mirrored) -> None:
    assert done.failed is not None
    if row.name not in house.settings.collections:
        done.failed[row.id] = f"collection {row.name!r} is not in the settings, so its store is not known"
        return
    store = house.originals(row.name)
    if not isinstance(store, LegalHolds):
        done.without += 1
        return
    version = row.identity.removeprefix("v:") if row.identity.startswith("v:") else None
    info = ObjectInfo(row.key, row.size, row.identity, version, row.modified)
    try:
        store.set_legal_hold(info, held)
        done.done += 1
    except ObjectMissing:
        done.failed[row.id] = "the store does not hold this version any more"
    except StoreError as error:
        done.failed[row.id] = str(error)


def _take_off_lists(connection: sa.Connection, members: Collection[int]) -> int:
    """What is listed and not yet meant to go leaves its list; an intent meets the hold before its deletion."""
    changed = 0
    for part in _parts(members):
        answer = connection.execute(
            disposition_items.update()
            .where(
                disposition_items.c.object_version_id.in_(part),
                disposition_items.c.state == ItemState.LISTED,
            )
            .values(state=ItemState.BLOCKED, reason=HELD, changed_at=audit_log.now())
        )
        changed += answer.rowcount
    return changed


def _subject(connection: sa.Connection, number: int, case: str) -> dict[str, Any]:
    return {"hold": number, "case": audit_log.reference(connection, "case", case)}


def _note(connection: sa.Connection, person: people.Person, type: str, **fields: Any) -> None:
    actor = person.actor(Role.COMPLIANCE)
    audit_log.append(connection, Event(type=type, occurred_at=audit_log.now(), actor=actor, **fields))


def _parts(members: Collection[int]) -> Iterator[list[int]]:
    left = iter(sorted(set(members)))
    while part := list(islice(left, CHUNK)):
        yield part

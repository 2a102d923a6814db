"""When photos were taken, events that start a period, and tags: written where policies look, each with its event.

What a night's workers found comes with a batch and is told by its audit segment; what a person says is an event for
each photo, with salted commitments of what was there and of what is now. A later date replaces an earlier one, since it
keeps a photo longer; an earlier date, or a tag that goes, needs somebody who may overrule. Knows nothing of policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import Event, rfc3339
from fwd2bot_core.capture import NOTHING_SAID, Claims, doubt
from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.roles import Act
from fwd2bot_core.work import Receipt, Unit
from infra import audit_log
from infra.crashpoints import reach
from infra.installation import Installation
from infra.object_facts import claims_of
from infra.retention_tables import object_dates, object_facts, object_tags
from infra.tables import object_versions
from tasks import facts, people

CHUNK = 500  # photos in one transaction
RECORDED = "moment.recorded"


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be written down about one object version; what is left out stays as it is."""

    number: int
    captured: datetime | None = None
    claims: Claims = NOTHING_SAID  # of its file and key, read again
    dates: Mapping[str, datetime] = field(default_factory=dict)  # of events, by name
    tags: frozenset[str] = frozenset()
    untags: frozenset[str] = frozenset()


@dataclass(slots=True)
class Recorded:
    """What came of it, in photos."""

    changed: int = 0
    same: int = 0  # it was so already
    conflicts: int = 0  # whose capture date is not known now, since two sources contradict each other
    refused: dict[int, str] = field(default_factory=dict)  # by object version; nothing of it was changed


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of one object version."""

    unit: Unit
    claims: Claims
    dates: dict[str, datetime]
    tags: frozenset[str]
    row: bool  # in ``object_facts``
    captured_at: datetime | None = None  # as that row has it


def write(connection: sa.Connection, receipt: Receipt) -> None:
    """What workers found in files and keys, in the transaction that commits their batch."""
    found = {i.object_version_id: i.claims for i in receipt.images if i.claims.said or i.claims.doubts}
    if not found:
        return
    there = _claims(connection, list(found))
    merged = {number: _merged(there.get(number, NOTHING_SAID), claims) for number, claims in found.items()}
    _write_claims(connection, merged, there.keys())


def record(
    house: Installation,
    person: str,
    told: Iterable[Told],
    *,
    overrule: bool = False,
    reason: str = "",
) -> Recorded:
    """Write down what is told, photo by photo, in transactions of 500. To run it again changes nothing more.

    Raises ``AccessDenied``, and ``UsageError`` for overruling without a reason.
    """
    if overrule and not reason.strip():
        raise UsageError("say why: whoever overrules what is recorded gives a reason")
    someone = people.permitted(house.ledger, person, Act.RECORD_MOMENTS, "moments")
    if overrule:
        people.permitted(house.ledger, person, Act.OVERRULE_MOMENTS, "moments")
    done, left = Recorded(), iter(told)
    while part := list(islice(left, CHUNK)):
        with house.ledger.write() as connection:
            audit_log.hold(connection)
            _record(connection, someone, {one.number: one for one in part}, overrule, reason, done)
        reach("moments.recorded")
    return done


def _record(
    connection: sa.Connection,
    person: people.Person,
    told: dict[int, Told],
    overrule: bool,
    reason: str,
    done: Recorded,
) -> None:
    there = known(connection, list(told))
    now, changes = audit_log.now(), dict[int, tuple[Known, Known]]()
    for number, one in told.items():
        if number not in there:
            done.refused[number] = "gone, or not known"
            continue
        before = there[number]
        if (why := _refused(before, one, now, overrule)) is not None:
            done.refused[number] = why
            continue
        after = _after(before, one, overrule)
        done.conflicts += bool(after.claims.said) and after.claims.captured is None
        if after == before:
            done.same += 1
        else:
            changes[number] = before, after
            done.changed += 1
    if changes:
        _write_down(connection, person, changes, reason or None)


def _refused(before: Known, told: Told, now: datetime, overrule: bool) -> str | None:
    """Why nothing of it is written down: a date that cannot be, or one that lets go earlier than what is there."""
    if told.captured is not None and (why := doubt(told.captured, now)):
        return f"captured is {why}"
    for name, at in told.dates.items():
        if why := doubt(at, now, ahead=True):
            return f"{name} is {why}"
        if not overrule and name in before.dates and at < before.dates[name]:
            return f"{name} is recorded as {rfc3339(before.dates[name])}: an earlier date overrules that"
    if overrule:
        return None
    if told.captured is not None and before.claims.told is not None and told.captured < before.claims.told:
        return f"captured is recorded as {rfc3339(before.claims.told)}: an earlier date overrules that"
    if gone := sorted(told.untags & before.tags):
        return f"it is tagged {', '.join(gone)}: to take a tag off overrules that"
    return None


def _after(before: Known, told: Told, overrule: bool) -> Known:
    claims = _merged(before.claims, told.claims)
    if told.captured is not None:
        claims = replace(claims, told=told.captured, overrules=overrule)
    dates = before.dates | dict(told.dates)
    return replace(before, claims=claims, dates=dates, tags=(before.tags | told.tags) - told.untags)


def _merged(before: Claims, found: Claims) -> Claims:
    """What is found now in file and key, and what a person said before; what is not found now stays."""
    return replace(
        before,
        exif=found.exif or before.exif,
        name=found.name or before.name,
        doubts=found.doubts or before.doubts,
    )


def _write_down(
    connection: sa.Connection,
    person: people.Person,
    changes: Mapping[int, tuple[Known, Known]],
    reason: str | None,
) -> None:
    at, units = audit_log.now(), [before.unit for before, _ in changes.values()]
    subjects = facts.subjects(connection, units)
    events = [
        Event(
            type=RECORDED,
            occurred_at=at,
            actor=person.actor(),
            collection=audit_log.reference(connection, "collection", before.unit.collection),
            subject=subjects[number],
            before=said(before.unit, before.claims, before.dates, before.tags),
            after=said(after.unit, after.claims, after.dates, after.tags),
            reason_code="overruled" if after.claims.overrules and not before.claims.overrules else None,
            reason_text=reason,
        )
        for number, (before, after) in changes.items()
    ]
    first = audit_log.append_all(connection, events)
    seqs = {number: seq for seq, number in enumerate(changes, first)}
    _write_claims(
        connection,
        {
            number: after.claims
            for number, (before, after) in changes.items()
            if after.claims != before.claims
        },
        {number for number, (before, _) in changes.items() if before.row},
        seqs,
    )
    for number, (before, after) in changes.items():
        _write_dates_and_tags(connection, number, before, after, seqs[number])


def said(unit: Unit, claims: Claims, dates: Mapping[str, datetime], tags: Iterable[str]) -> dict[str, Any]:
    """What an event says of a photo's dates and tags: commitments by the photo's own salt, which erasing it erases."""

    def of(kind: str, moments: Mapping[str, datetime]) -> dict[str, dict[str, str]]:
        found = {name: commitment(unit.salt, name, rfc3339(at)) for name, at in sorted(moments.items())}
        return {kind: found} if found else {}

    labels = {"tags": sorted(tags)} if tags else {}
    overrules = {"overrules": True} if claims.overrules else {}
    return of("captured", claims.said) | of("dates", dates) | labels | overrules


def _write_claims(
    connection: sa.Connection,
    claims: Mapping[int, Claims],
    there: Iterable[int],
    seqs: Mapping[int, int] | None = None,
) -> None:
    """A row of ``object_facts`` for each; ``there``: those that have one."""
    old = set(there) & claims.keys()
    values = [
        {
            "number": number,
            "captured_at": one.captured,
            "exif_at": one.exif,
            "name_at": one.name,
            "told_at": one.told,
            "overrules": one.overrules,
            "doubts": " ".join(f"{who}:{why}" for who, why in one.doubts) or None,
            **({"seq": seqs[number]} if seqs else {}),
        }
        for number, one in claims.items()
    ]
    mine = object_facts.c.object_version_id == sa.bindparam("number")
    if again := [row for row in values if row["number"] in old]:
        names: dict[str, Any] = {name: sa.bindparam(name) for name in again[0] if name != "number"}
        connection.execute(object_facts.update().where(mine).values(names), again)
    if new := [row for row in values if row["number"] not in old]:
        rows = [{"object_version_id": row.pop("number"), **row} for row in new]
        connection.execute(object_facts.insert(), rows)


def _write_dates_and_tags(
    connection: sa.Connection, number: int, before: Known, after: Known, seq: int
) -> None:
    for name, at in after.dates.items():
        if before.dates.get(name) == at:
            continue
        mine = sa.and_(object_dates.c.object_version_id == number, object_dates.c.name == name)
        connection.execute(object_dates.delete().where(mine))
        connection.execute(object_dates.insert().values(object_version_id=number, name=name, at=at, seq=seq))
    for tag in sorted(after.tags - before.tags):
        connection.execute(object_tags.insert().values(object_version_id=number, tag=tag, seq=seq))
    if gone := before.tags - after.tags:
        mine = sa.and_(object_tags.c.object_version_id == number, object_tags.c.tag.in_(sorted(gone)))
        connection.execute(object_tags.delete().where(mine))


def known(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, Known]:
    """Those that are not gone."""
    mine = sa.select(object_facts).where(object_facts.c.object_version_id.in_(numbers))
    held = {row.object_version_id: row for row in connection.execute(mine)}
    dates, tags = dict[int, dict[str, datetime]](), dict[int, set[str]]()
    for row in connection.execute(
        sa.select(object_dates).where(object_dates.c.object_version_id.in_(numbers))
    ):
        dates.setdefault(row.object_version_id, {})[row.name] = row.at
    for row in connection.execute(sa.select(object_tags).where(object_tags.c.object_version_id.in_(numbers))):
        tags.setdefault(row.object_version_id, set()).add(row.tag)
    return {
        unit.object_version_id: Known(
            unit,
            claims_of(held[unit.object_version_id]) if unit.object_version_id in held else NOTHING_SAID,
            dates.get(unit.object_version_id, {}),
            frozenset(tags.get(unit.object_version_id, ())),
            unit.object_version_id in held,
            held[unit.object_version_id].captured_at if unit.object_version_id in held else None,
        )
        for unit in facts.units(connection, object_versions.c.id.in_(numbers))
    }


def _claims(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, Claims]:
    rows = connection.execute(sa.select(object_facts).where(object_facts.c.object_version_id.in_(numbers)))
    return {row.object_version_id: claims_of(row) for row in rows}


def undated(connection: sa.Connection, collection: str) -> Iterator[Unit]:
    """The current photos of a collection of whose file and key nothing is recorded, by number."""
    photo = object_versions.c
    unsaid = sa.and_(object_facts.c.exif_at.is_(None), object_facts.c.name_at.is_(None))
    query = sa.or_(object_facts.c.object_version_id.is_(None), unsaid)
    numbers = sa.select(photo.id).outerjoin(object_facts, object_facts.c.object_version_id == photo.id)
    current = numbers.where(query, photo.superseded_at.is_(None))
    yield from facts.units(connection, photo.id.in_(current), collection)

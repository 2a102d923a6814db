"""From what somebody names to what is written down: a file's keys, a pattern of keys, photos that are read again.

Every version under a key is meant. Knows how to find photos and their rules. Writes nothing itself (``moments``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from fwd2bot_core.errors import ImageRejected, ObjectChanged, ObjectForbidden, ObjectMissing, UsageError
from infra import audit_log
from infra.installation import Installation
from infra.reading import claims_of
from infra.tables import collections, object_versions
from tasks import moments, moments_file
from tasks.members import matching
from tasks.moments import Recorded, Told
from tasks.moments_file import Line

CHUNK = 500


@dataclass(slots=True)
class Loaded:
    """What came of a file or of a reading."""

    recorded: Recorded
    unknown: list[str] = field(default_factory=list)  # keys that the ledger does not have


def load(
    house: Installation, collection: str, file: Path, person: str, *, overrule: bool = False, reason: str = ""
) -> Loaded:
    """Write down what a file says; all its lines are read first. Raises as ``moments_file.read`` and ``record``."""
    _, source = house.settings.collection(collection)
    lines = moments_file.read(file, source.capture.zone)
    done = Loaded(Recorded())
    told = _told(house, collection, lines, done)
    done.recorded = moments.record(house, person, told, overrule=overrule, reason=reason)
    return done


def mark(
    house: Installation,
    collection: str,
    keys: str,
    person: str,
    *,
    dates: dict[str, datetime],
    tags: frozenset[str] = frozenset(),
    untags: frozenset[str] = frozenset(),
    overrule: bool = False,
    reason: str = "",
) -> Loaded:
    """Write the same down about every photo whose key matches a pattern."""
    if not (dates or tags or untags):
        raise UsageError("say what happened: an event with its date, or a tag")
    with house.ledger.read() as connection:
        numbers = matching(connection, keys, collection)
    told = (Told(number, dates=dates, tags=tags, untags=untags) for number in numbers)
    return Loaded(moments.record(house, person, told, overrule=overrule, reason=reason))


def look_again(house: Installation, collection: str, person: str) -> Loaded:
    """Read what keys and files of known photos say of when they were taken, by the collection's rules of now.

    For photos that were compressed before there were any. Of one that cannot be read now only its key says something; a
    store that does not answer at all is raised.
    """
    _, source = house.settings.collection(collection)
    if not source.capture.rules().any:
        raise UsageError(
            f"[collections.{collection}.capture] asks for neither exif nor name; nothing was read"
        )
    return Loaded(moments.record(house, person, _found(house, collection)))


def _told(house: Installation, collection: str, lines: Sequence[Line], done: Loaded) -> Iterator[Told]:
    left = iter(lines)
    while some := list(islice(left, CHUNK)):
        with house.ledger.read() as connection:
            known = _versions(connection, collection, [line.key for line in some])
        for line in some:
            if not (numbers := known.get(line.key)):
                done.unknown.append(line.key)
            for number in numbers or ():
                yield Told(number, line.captured, dates=line.dates, tags=line.tags, untags=line.untags)


def _versions(connection: sa.Connection, collection: str, keys: Sequence[str]) -> dict[str, list[int]]:
    photo, found = object_versions.c, dict[str, list[int]]()
    rows = connection.execute(
        sa.select(photo.id, photo.key)
        .join(collections, collections.c.id == photo.collection_id)
        .where(collections.c.name == collection, photo.key.in_(keys), photo.destroyed_seq.is_(None))
        .order_by(photo.id)
    )
    for number, key in rows:
        found.setdefault(key, []).append(number)
    return found


def _found(house: Installation, collection: str) -> Iterator[Told]:
    rules, store = house.settings.collections[collection].capture.rules(), house.originals(collection)
    with house.ledger.read() as connection:
        units = list(moments.undated(connection, collection))
    for unit in units:
        data = None
        if rules.exif:
            with suppress(ObjectMissing, ObjectChanged, ObjectForbidden, ImageRejected):
                data = store.read(unit.key, identity=unit.identity)
        claims = claims_of(unit.key, data, rules, house.limits).believed(audit_log.now())
        if claims.said or claims.doubts:
            yield Told(unit.object_version_id, claims=claims)

"""Reading the audit log: the events that somebody asks for, in the order of the log or newest first.

Streams: memory stays flat in a log of any size. SQL narrows the search by columns and texts; an altered column could
hide an event here, which ``audit verify`` finds. Names come with each event where they were not erased. Judges nothing
and proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import UsageError
from infra.installation import Installation
from infra.lookup import find
from infra.tables import audit_events, audit_segments, audit_values, failures, shards, summaries, work
from tasks import facts

PAGE = 500
_REFERENCE = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events; all that is given must hold."""

    image: str | None = None  # a key, or the sha256 of the file (12 digits or more)
    collection: str | None = None  # its name or reference; of an image's versions, too
    run: str | None = None
    actor: str | None = None  # who did it or had it done: a name, or its reference
    types: tuple[str, ...] = ()  # "batch.committed", or "batch" for all that begin so
    since: datetime | None = None  # aware; this moment included
    until: datetime | None = None  # aware; this moment not included
    first: int | None = None  # number of an event
    last: int | None = None  # included
    newest_first: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One event, and the names that are known of the references in it."""

    body: bytes  # the exact bytes that were hashed
    event: Mapping[str, Any]  # the same, parsed
    names: Mapping[str, str]


class Selection:
    """A filter whose names were looked up, in one snapshot of the log."""

    def __init__(self, connection: sa.Connection, wanted: Filter) -> None:
        """Raises ``UsageError`` for a name that is nowhere in the log, ``NotInArchive`` for an unknown image."""
        self._connection, self.wanted = connection, wanted
        self.actor = _reference(connection, "actor", wanted.actor)
        self.collection = _reference(connection, "collection", wanted.collection)
        self.versions = _versions(connection, wanted)
        self._conditions = list(self._in_sql())

    def bodies(self) -> Iterator[bytes]:
        """Exact bodies, in the wanted order."""
        order = audit_events.c.seq.desc() if self.wanted.newest_first else audit_events.c.seq
        query = sa.select(audit_events.c.body).where(*self._conditions).order_by(order)
        with self._connection.execute(query.execution_options(yield_per=PAGE)) as rows:
            yield from islice(filter(self._holds, map(bytes, rows.scalars())), self.wanted.limit)

    def _in_sql(self) -> Iterator[sa.ColumnElement[bool]]:
        wanted, column = self.wanted, audit_events.c
        if wanted.run is not None:
            yield column.run_id == wanted.run
        if wanted.types:
            yield sa.or_(*(_of_type(name) for name in wanted.types))
        if wanted.since is not None:
            yield column.occurred_at >= wanted.since
        if wanted.until is not None:
            yield column.occurred_at < wanted.until
        if wanted.first is not None:
            yield column.seq >= wanted.first
        if wanted.last is not None:
            yield column.seq <= wanted.last
        for text in filter(None, (self.actor, self.collection)):
            yield _mentions(self._connection, text)
        if self.versions is not None:
            yield sa.or_(column.seq.in_(_segments(self.versions)), column.type.in_(facts.EVENTS))

    def _holds(self, body: bytes) -> bool:
        """What SQL cannot see in a body."""
        if self.actor is None and self.collection is None and self.versions is None:
            return True
        event = parse(body)
        return (
            self.actor in (None, event["actor"]["ref"], event.get("on_behalf_of"))
            and self.collection in (None, event.get("collection"))
            and (self.versions is None or _is_about(event, self.versions))
        )


class Names:
    """What the log's references stand for, as far as nobody erased it."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.known: dict[str, str] = {}
        self.values: dict[str, dict[str, str]] = {}  # by reference: ref, kind, salt (hex), value

    def learn(self, bodies: Iterable[bytes]) -> None:
        """Look up every reference in these bodies."""
        words = {word.decode() for body in bodies for word in _REFERENCE.findall(body)} - self.values.keys()
        for some in _pages(sorted(words)):
            found = sa.select(audit_values).where(audit_values.c.ref.in_(some))
            for row in self._connection.execute(found):
                self.known[row.ref] = row.value
                self.values[row.ref] = {
                    "ref": row.ref,
                    "kind": row.kind,
                    "salt": row.salt.hex(),
                    "value": row.value,
                }


def events(house: Installation, wanted: Filter) -> Iterator[Entry]:
    """The events of a filter, streamed.

    Raises ``UsageError`` for a name that is nowhere in the log, ``NotInArchive`` for an unknown image, and
    ``IntegrityError`` at an event that is none any more.
    """
    with house.ledger.read() as connection:
        names = Names(connection)
        bodies = Selection(connection, wanted).bodies()
        while page := list(islice(bodies, PAGE)):
            names.learn(page)
            for body in page:
                yield Entry(body, parse(body), names.known)


def number_of(connection: sa.Connection, event: str) -> int:
    """The number of an event that is named by it or by its id. Raises ``UsageError`` if there is none."""
    if event.isdecimal() and len(event) < 19:
        place = audit_events.c.seq == int(event)
    else:
        place = audit_events.c.event_id == event.lower()
    found = connection.execute(sa.select(audit_events.c.seq).where(place)).scalar_one_or_none()
    if found is None:
        raise UsageError(
            f"the audit log has no event {event!r}: give its number or its id, as `fwd2bot audit log` shows them"
        )
    return int(found)


def _reference(connection: sa.Connection, kind: str, name: str | None) -> str | None:
    """What stands in the log for a name; a reference stands for itself."""
    if name is None or _REFERENCE.fullmatch(name.encode()):
        return name
    mine = sa.select(audit_values.c.ref).where(audit_values.c.kind == kind, audit_values.c.value == name)
    found = connection.execute(mine).scalar_one_or_none()
    if found is None:
        raise UsageError(
            f"no {kind} {name!r} in the audit log. If the name was erased, give the reference that stands for it "
            "(64 digits, in `fwd2bot audit log --json`)."
        )
    return str(found)


def _versions(connection: sa.Connection, wanted: Filter) -> list[int] | None:
    if wanted.image is None:
        return None
    by_name = None if wanted.collection is None or len(wanted.collection) == 64 else wanted.collection
    return [row.id for row in find(connection, wanted.image, by_name)]


def _segments(versions: list[int]) -> sa.Select[Any]:
    """The events that made a batch of these images part of the log."""
    committed = sa.select(shards.c.batch_id).join(summaries, summaries.c.shard_id == shards.c.id)
    batches = sa.union(
        committed.where(summaries.c.object_version_id.in_(versions)),
        sa.select(failures.c.batch_id).where(failures.c.object_version_id.in_(versions)),
        sa.select(work.c.batch_id).where(work.c.object_version_id.in_(versions)),
    )
    return sa.select(audit_segments.c.seq).where(audit_segments.c.batch_id.in_(batches))


def _is_about(event: Mapping[str, Any], versions: list[int]) -> bool:
    if event["type"] not in facts.EVENTS:
        return True  # SQL found it by its segment
    return (event.get("subject") or {}).get("object_version") in versions


def _of_type(name: str) -> sa.ColumnElement[bool]:
    """The type itself, or each type of the family that it names."""
    family = name.removesuffix("*").removesuffix(".")
    of = audit_events.c.type
    return sa.or_(of == family, of.startswith(f"{family}.", autoescape=True))


def _mentions(connection: sa.Connection, reference: str) -> sa.ColumnElement[bool]:
    """Whether a body, which is bytes to the database, has the reference in it."""
    body, bytes_of = audit_events.c.body, reference.encode()
    if connection.dialect.name == "sqlite":  # whose LIKE may be built to compare texts only
        return sa.func.instr(body, sa.literal(bytes_of, sa.LargeBinary)) > 0
    return body.op("LIKE", is_comparison=True)(sa.literal(b"%" + bytes_of + b"%", sa.LargeBinary))


def _pages(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]

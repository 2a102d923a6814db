"""What is new: a streamed listing of the originals, held against the ledger in SQL.

Memory stays flat: entries are staged by the thousand in a temporary table, and an anti-join finds those
that the ledger lacks. A night without news writes one event, a count without a run nothing. What comes from
elsewhere than the store may be out of date, so the store is asked about what would be news. Reads names and
sizes, never a byte of an image. Which sources a collection has is ``find_new``'s to know.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import StoreUnreachable
from infra import audit_log
from infra.crashpoints import reach
from infra.database import Ledger
from infra.objects import ObjectInfo, ObjectStore
from infra.sources.portions import as_it_is, portions
from infra.sources.protocol import Source
from infra.tables import UtcDateTime, object_versions
from tasks import holds
from tasks.runs import Run, changing

CHUNK = 5_000
KEYS = 1_000  # in one question

_staging = sa.MetaData()
listing = sa.Table(
    "listing",
    _staging,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("modified", UtcDateTime, nullable=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a listing showed; sizes in bytes."""

    listed: int = 0
    listed_bytes: int = 0
    new: int = 0
    new_bytes: int = 0
    superseded: int = 0  # old versions of keys that now hold another one

    def __add__(self, other: Discovery) -> Discovery:
        return Discovery(
            self.listed + other.listed,
            self.listed_bytes + other.listed_bytes,
            self.new + other.new,
            self.new_bytes + other.new_bytes,
            self.superseded + other.superseded,
        )


def discover(
    ledger: Ledger,
    originals: Source,
    collection_id: int | None,
    prefix: str = "",
    *,
    run: Run | None = None,
    progress: Callable[[Discovery], None] = lambda _: None,
    whole: bool = True,
    truth: ObjectStore | None = None,
    said: Callable[[], Mapping[str, Any]] = dict,
) -> Discovery:
    """List a collection and write down what is new; without a ``run`` only count.

    ``collection_id`` None is a collection that the ledger has never seen. ``whole``: ``originals`` has all that there
    is; ``truth``: the store to ask, where it may be out of date; what ``said`` says at the end goes into the event.
    Raises ``StoreError``; also when nothing is listed of a whole collection that had images, since that is what a disk
    that is not mounted looks like.
    """
    total = Discovery()
    for chunk, asked in portions(originals, prefix, CHUNK, truth):
        total += _take_in(ledger, collection_id, chunk, run, asked)
        progress(total)
        if run is not None:
            reach("driver.discovered")
    if whole and not total.listed and _had_images(ledger, collection_id):
        raise StoreUnreachable(
            f"{originals.uri} lists nothing below {prefix!r}, where the ledger knows images. Is it mounted, and is "
            "the prefix right? If the archive was emptied on purpose, name it as a new collection."
        )
    if run is not None:
        _note(ledger, run, asdict(total) | dict(said()))
    return total


def _note(ledger: Ledger, run: Run, after: dict[str, Any]) -> None:
    with changing(ledger, run) as connection:
        audit_log.append(connection, run.event("discovery.ended", after=after))


@dataclass(frozen=True, slots=True)
class _News:
    """What a chunk of the listing says that the ledger does not."""

    keys: set[str]  # that there is any news about
    new: list[dict[str, Any]]  # versions that the ledger lacks
    replaced: list[int]  # ledger versions whose key now holds another one
    returned: list[int]  # superseded ones that are current again: somebody put the old content back

    def __bool__(self) -> bool:
        return bool(self.new or self.replaced or self.returned)


def _take_in(
    ledger: Ledger,
    collection_id: int | None,
    chunk: list[ObjectInfo],
    run: Run | None,
    truth: ObjectStore | None,
) -> Discovery:
    news = _news(ledger, collection_id, chunk)
    if truth is not None and news:
        news = _news(ledger, collection_id, as_it_is(truth, news.keys))
    if run is not None and news:
        with changing(ledger, run) as connection:  # a stale listing must not undo what a newer run saw
            _write_down(connection, run.collection_id, news)
    return Discovery(
        listed=len(chunk),
        listed_bytes=sum(entry.size for entry in chunk),
        new=len(news.new),
        new_bytes=sum(row["size"] for row in news.new),
        superseded=len(news.replaced),
    )


def _news(ledger: Ledger, collection_id: int | None, chunk: list[ObjectInfo]) -> _News:
    with ledger.read() as connection:  # writes a temporary table only, so it waits for nobody
        stage(connection, chunk)
        return _compare(connection, collection_id)


def stage(connection: sa.Connection, chunk: list[ObjectInfo]) -> None:
    """Put a part of a listing into the temporary table ``listing``, instead of what was there."""
    _staging.create_all(connection)
    connection.execute(listing.delete())
    if not chunk:
        return
    connection.execute(
        listing.insert(),
        [
            {"key": e.key, "identity": e.identity, "size": e.size, "modified": e.modified}
            for e in {entry.key: entry for entry in chunk}.values()  # a store may list a key twice
        ],
    )


def _compare(connection: sa.Connection, collection_id: int | None) -> _News:
    """One join from the listing to the ledger by collection and key; an outer join, so that every database starts
    from the few listed keys and not from the many known ones."""
    known = object_versions.c
    same_key = sa.and_(known.collection_id == collection_id, known.key == listing.c.key)
    rows = connection.execute(
        sa.select(
            listing,
            known.id.label("known_id"),
            known.identity.label("known_identity"),
            known.superseded_at.label("superseded_at"),
        ).select_from(listing.outerjoin(object_versions, same_key))
    ).all()
    equal = {row.key: row for row in rows if row.known_identity == row.identity}
    new = {row.key: row for row in rows if row.key not in equal}
    replaced = [
        row
        for row in rows
        if row.known_id is not None and row.known_identity != row.identity and row.superseded_at is None
    ]
    returned = [row for row in equal.values() if row.superseded_at is not None]
    return _News(
        keys={row.key for row in (*new.values(), *replaced, *returned)},
        new=[{c.name: row._mapping[c.name] for c in listing.columns} for row in new.values()],
        replaced=[row.known_id for row in replaced],
        returned=[row.known_id for row in returned],
    )


def _write_down(connection: sa.Connection, collection_id: int, news: _News) -> None:
    at = audit_log.now()
    if fresh := _not_yet_known(connection, collection_id, news.new):
        register(connection, collection_id, fresh)
    for ids, value in ((news.replaced, at), (news.returned, None)):
        if ids:
            connection.execute(
                object_versions.update().where(object_versions.c.id.in_(ids)).values(superseded_at=value)
            )


def _not_yet_known(
    connection: sa.Connection, collection_id: int, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Without those that a backfill wrote down since they were compared."""
    known = object_versions.c
    held = set[tuple[str, str]]()
    for first in range(0, len(rows), KEYS):
        keys = [row["key"] for row in rows[first : first + KEYS]]
        mine = sa.select(known.key, known.identity).where(
            known.collection_id == collection_id, known.key.in_(keys)
        )
        held |= {(row.key, row.identity) for row in connection.execute(mine)}
    return [row for row in rows if (row["key"], row["identity"]) not in held]


def register(connection: sa.Connection, collection_id: int, rows: list[dict[str, Any]]) -> None:
    """Write down versions (key, identity, size, modified) that the ledger lacks, each with a salt of its own, within a
    transaction that holds the log's head."""
    own = {"collection_id": collection_id, "first_seen_at": audit_log.now()}
    connection.execute(
        object_versions.insert(), [row | own | {"salt": secrets.token_bytes(16)} for row in rows]
    )
    holds.catch_up(connection, collection_id)


def _had_images(ledger: Ledger, collection_id: int | None) -> bool:
    with ledger.read() as connection:
        query = sa.select(object_versions.c.id).where(
            object_versions.c.collection_id == collection_id, object_versions.c.superseded_at.is_(None)
        )
        return connection.execute(query.limit(1)).first() is not None

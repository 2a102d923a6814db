"""What is new: a streamed listing of the originals, held against the ledger in SQL.

Memory stays flat: entries are staged by the thousand in a temporary table, and an anti-join finds those
that the ledger lacks. A night without news writes nothing. Reads names and sizes, never a byte of an
image.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa

from infra import audit_log
from infra.crashpoints import reach
from infra.database import Ledger
from infra.objects import ObjectInfo, ObjectStore
from infra.tables import UtcDateTime, object_versions

CHUNK = 5_000

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
    originals: ObjectStore,
    collection_id: int | None,
    prefix: str = "",
    *,
    dry: bool = False,
    progress: Callable[[Discovery], None] = lambda _: None,
) -> Discovery:
    """List a collection and write down what is new; ``dry`` only counts.

    ``collection_id`` None (with ``dry``) is a collection that the ledger has never seen. Raises ``StoreError``.
    """
    total = Discovery()
    for chunk in _chunks(originals.list(prefix)):
        total += _take_in(ledger, collection_id, chunk, dry=dry)
        progress(total)
        if not dry:
            reach("driver.discovered")
    return total


def _chunks(entries: Iterator[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    while chunk := list(islice(entries, CHUNK)):
        yield chunk


def _take_in(ledger: Ledger, collection_id: int | None, chunk: list[ObjectInfo], *, dry: bool) -> Discovery:
    with ledger.read() as connection:  # writes a temporary table only, so it waits for nobody
        _stage(connection, chunk)
        new = connection.execute(_unknown(collection_id)).all()
        old = connection.execute(_replaced(collection_id)).scalars().all()
        returned = connection.execute(_returned(collection_id)).scalars().all()
    if not dry and collection_id is not None and (new or old or returned):
        with ledger.write() as connection:
            _write_down(connection, collection_id, new, old, returned)
    return Discovery(
        listed=len(chunk),
        listed_bytes=sum(entry.size for entry in chunk),
        new=len(new),
        new_bytes=sum(row.size for row in new),
        superseded=len(old),
    )


def _stage(connection: sa.Connection, chunk: list[ObjectInfo]) -> None:
    _staging.create_all(connection)
    connection.execute(listing.delete())
    connection.execute(
        listing.insert(),
        [
            {"key": e.key, "identity": e.identity, "size": e.size, "modified": e.modified}
            for e in {entry.key: entry for entry in chunk}.values()  # a store may list a key twice
        ],
    )


def _same_key(collection_id: int | None) -> sa.ColumnElement[bool]:
    return sa.and_(object_versions.c.collection_id == collection_id, object_versions.c.key == listing.c.key)


def _unknown(collection_id: int | None) -> sa.Select[Any]:
    """Listed versions that the ledger lacks."""
    known = sa.and_(_same_key(collection_id), object_versions.c.identity == listing.c.identity)
    return sa.select(listing).outerjoin(object_versions, known).where(object_versions.c.id.is_(None))


def _replaced(collection_id: int | None) -> sa.Select[int]:
    """Ledger versions whose key now holds another one."""
    other = sa.and_(_same_key(collection_id), object_versions.c.identity != listing.c.identity)
    return (
        sa.select(object_versions.c.id)
        .select_from(listing.join(object_versions, other))
        .where(object_versions.c.superseded_at.is_(None))
    )


def _returned(collection_id: int | None) -> sa.Select[int]:
    """Superseded versions that are current again: somebody put the old content back."""
    same = sa.and_(_same_key(collection_id), object_versions.c.identity == listing.c.identity)
    return (
        sa.select(object_versions.c.id)
        .select_from(listing.join(object_versions, same))
        .where(object_versions.c.superseded_at.is_not(None))
    )


def _write_down(
    connection: sa.Connection,
    collection_id: int,
    new: Sequence[sa.Row[Any]],
    old: Sequence[int],
    returned: Sequence[int],
) -> None:
    at = audit_log.now()
    if new:
        connection.execute(
            object_versions.insert(),
            [
                {
                    **row._mapping,
                    "collection_id": collection_id,
                    "salt": secrets.token_bytes(16),
                    "first_seen_at": at,
                }
                for row in new
            ],
        )
    for ids, value in ((old, at), (returned, None)):
        if ids:
            connection.execute(
                object_versions.update().where(object_versions.c.id.in_(ids)).values(superseded_at=value)
            )

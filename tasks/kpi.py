"""What the archive costs and saves, month by month: bytes of originals, of tokens, and of what is gone.

The same meanings as the views of ``infra/deploy/dashboard-views.sql``: freed bytes are those of originals whose
destruction the store confirmed; net is freed less stored. While nothing is destroyed nothing is saved, and net is below
zero. Months are UTC's. Knows nothing about fidelity, money or pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from infra.retention_tables import certificates
from infra.tables import collections, object_versions, shards

_Figures = sa.Select[*tuple[Any, ...]]  # whatever it counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """One collection, or all, as things are now. Sizes in bytes."""

    originals: int  # current versions that are not destroyed
    original_bytes: int
    destroyed: int
    freed_bytes: int
    images: int  # rows of committed tokens
    token_bytes: int  # of their shards

    @property
    def net_saved_bytes(self) -> int:
        return self.freed_bytes - self.token_bytes

    @property
    def ratio(self) -> float | None:
        """Bytes of an original for each byte of its tokens, over all that were compressed; None without any."""
        known = self.original_bytes + self.freed_bytes
        return known / self.token_bytes if self.token_bytes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What came and went in one month; ``held_*`` are sums up to its end. Sizes in bytes."""

    name: str  # such as 2026-11
    originals: int
    original_bytes: int
    images: int
    token_bytes: int
    destroyed: int
    freed_bytes: int
    held_original_bytes: int = 0
    held_token_bytes: int = 0


def holdings(connection: sa.Connection, collection: str | None = None) -> Holdings:
    """Of one collection, or of all."""
    photo, gone = object_versions.c, object_versions.c.destroyed_seq.is_not(None)
    current = sa.and_(photo.destroyed_seq.is_(None), photo.superseded_at.is_(None))
    counts = [sa.func.sum(sa.case((which, 1), else_=0)) for which in (current, gone)]
    sizes = [sa.func.sum(sa.case((which, photo.size), else_=0)) for which in (current, gone)]
    there, lost, there_bytes, lost_bytes = _one(
        connection, _of(sa.select(*counts, *sizes), object_versions, collection)
    )
    images, size = _one(
        connection,
        _of(sa.select(sa.func.sum(shards.c.rows), sa.func.sum(shards.c.bytes)), shards, collection),
    )
    return Holdings(
        originals=there,
        original_bytes=there_bytes,
        destroyed=lost,
        freed_bytes=lost_bytes,
        images=images,
        token_bytes=size,
    )


def months(connection: sa.Connection, collection: str | None = None) -> list[Month]:
    """Every month in which anything happened, oldest first."""
    photo = object_versions.c
    came = sa.select(_month(connection, photo.first_seen_at), sa.func.count(), sa.func.sum(photo.size))
    made = sa.select(
        _month(connection, shards.c.committed_at), sa.func.sum(shards.c.rows), sa.func.sum(shards.c.bytes)
    )
    went = sa.select(
        _month(connection, certificates.c.deleted_at), sa.func.count(), sa.func.sum(photo.size)
    ).join_from(certificates, object_versions, photo.id == certificates.c.object_version_id)
    parts = [
        {
            row[0]: (int(row[1]), int(row[2]))
            for row in connection.execute(query.group_by(sa.literal_column("1")))
        }
        for query in (
            _of(came, object_versions, collection),
            _of(made, shards, collection),
            _of(went, object_versions, collection),
        )
    ]
    return _summed(parts)


def _summed(parts: list[dict[str, tuple[int, int]]]) -> list[Month]:
    found, held, stored = [], 0, 0
    for name in sorted(set().union(*parts)):
        (came, size), (images, tokens), (gone, freed) = (part.get(name, (0, 0)) for part in parts)
        held, stored = held + size - freed, stored + tokens
        found.append(
            Month(
                name=name,
                originals=came,
                original_bytes=size,
                images=images,
                token_bytes=tokens,
                destroyed=gone,
                freed_bytes=freed,
                held_original_bytes=held,
                held_token_bytes=stored,
            )
        )
    return found


def _one(connection: sa.Connection, query: _Figures) -> list[int]:
    return [int(value or 0) for value in connection.execute(query).one()]


def _of(query: _Figures, table: sa.Table, collection: str | None) -> _Figures:
    if collection is None:
        return query
    mine = sa.select(collections.c.id).where(collections.c.name == collection).scalar_subquery()
    return query.where(table.c.collection_id == mine)


def _month(connection: sa.Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    if connection.dialect.name == "sqlite":
        return sa.func.strftime("%Y-%m", column)
    return sa.func.to_char(sa.func.timezone("UTC", column), "YYYY-MM")

"""What is known of found images: one row of the ledger each, for people and programs. Knows nothing about finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from infra.retention_tables import certificates, object_facts
from infra.searching import Near
from infra.tables import collections, contents, object_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One found image. ``score`` is at most 1; only scores of one search compare."""

    score: float
    collection: str
    key: str
    version: str  # its identity: the store's version id, or ETag and size
    object_version_id: int
    sha256: str  # of the original's bytes
    captured_at: datetime | None  # None: nobody knows
    modified: datetime  # as the store said
    registered_at: datetime  # when a night first saw it
    width: int | None
    height: int | None
    destroyed: bool  # the original is gone; what was found are its tokens
    destroyed_at: datetime | None
    list_id: str | None  # the disposition list that its certificate names

    @property
    def taken(self) -> datetime:
        """What filters by time go by."""
        return self.captured_at or self.modified

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {name: getattr(self, name) for name in self.__slots__}
        times = {name: value.isoformat() for name, value in found.items() if isinstance(value, datetime)}
        return found | times | {"score": round(self.score, 6)}


@dataclass(frozen=True, slots=True)
class Found:
    """The hits, the best first, and what was looked through for them."""

    hits: list[Hit]
    compressor: str  # fingerprint
    scanned: int  # images whose vectors were read
    indexed: int  # images that an index answered for
    left_out: dict[str, int]  # images that other compressors made, by their names
    reranked: int  # finds that were compared token by token
    seconds: float  # from the query's vector to the hits

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        names = ("compressor", "scanned", "indexed", "left_out", "reranked")
        told = {name: getattr(self, name) for name in names} | {"seconds": round(self.seconds, 4)}
        return told | {"hits": [hit.as_json() for hit in self.hits]}


def hits_of(connection: sa.Connection, near: Sequence[Near]) -> list[Hit]:
    """In their order. One that was erased meanwhile is left out."""
    photo = object_versions.c
    rows = connection.execute(
        sa.select(
            object_versions,
            collections.c.name.label("collection"),
            object_facts.c.captured_at,
            contents.c.width,
            contents.c.height,
            certificates.c.deleted_at,
            certificates.c.list_id,
        )
        .join(collections, collections.c.id == photo.collection_id)
        .outerjoin(contents, contents.c.sha256 == photo.content_sha256)
        .outerjoin(object_facts, object_facts.c.object_version_id == photo.id)
        .outerjoin(certificates, certificates.c.object_version_id == photo.id)
        .where(photo.id.in_([one.object_version_id for one in near]))
    )
    known = {row.id: row for row in rows}
    return [_hit(known[one.object_version_id], one.score) for one in near if one.object_version_id in known]


def _hit(row: sa.Row[Any], score: float) -> Hit:
    return Hit(
        score=score,
        collection=row.collection,
        key=row.key,
        version=row.identity,
        object_version_id=row.id,
        sha256=row.content_sha256,
        captured_at=row.captured_at,
        modified=row.modified,
        registered_at=row.first_seen_at,
        width=row.width,
        height=row.height,
        destroyed=row.destroyed_seq is not None,
        destroyed_at=row.deleted_at,
        list_id=row.list_id,
    )

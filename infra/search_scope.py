"""What a search looks through: committed shards of one compressor, and which of their rows count for it.

A row counts as long as the ledger has it: a superseded version, an erased image or another compressor's tokens are
never found, whatever lies in files or indexes. Knows queries. Knows nothing about vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import CompressorMismatch, NotInArchive, UsageError
from infra.installation import Installation
from infra.retention_tables import object_facts, object_tags
from infra.tables import collections, compressors, object_versions, shards, summaries

AT_ONCE = 1_000  # places that one statement asks for


@dataclass(frozen=True, slots=True)
class Filters:
    """All that is given must hold. A photo's time is its capture where that is known, else what the store said."""

    since: datetime | None = None
    until: datetime | None = None  # not included
    run: str | None = None
    tags: tuple[str, ...] = ()
    original: bool = False  # only photos whose original was not destroyed


ALL = Filters()


@dataclass(frozen=True, slots=True)
class Shard:
    """One committed shard, as the ledger knows it."""

    id: int
    path: str
    sha256: str
    rows: int
    collection: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Shards of one compressor, and how many images other compressors made, by name, which are left out."""

    spec: CompressorSpec
    collections: tuple[str, ...]
    shards: tuple[Shard, ...]
    left_out: dict[str, int]

    @property
    def images(self) -> int:
        return sum(shard.rows for shard in self.shards)


def scope_of(house: Installation, collection: str | None = None) -> Scope:
    """What lies there of one collection, or of all that the settings name.

    Raises ``UsageError`` for collections of several compressors, whose scores do not compare, ``CompressorMismatch``
    where only another compressor's tokens lie, ``NotInArchive`` where none do.
    """
    names = [house.settings.collection(collection)[0]] if collection else sorted(house.settings.collections)
    specs = {house.spec(name).fingerprint: house.spec(name) for name in names}
    if len(specs) > 1:
        raise UsageError(
            f"{', '.join(names)} are of several compressors or views, whose scores do not compare: name one "
            "with --collection"
        )
    (spec,) = specs.values()
    with house.ledger.read() as connection:
        rows = connection.execute(_committed(names)).all()
    mine = tuple(
        Shard(int(row.id), row.path, row.sha256, int(row.rows), row.collection)
        for row in rows
        if row.fingerprint == spec.fingerprint
    )
    left_out: dict[str, int] = {}
    for row in rows:
        if row.fingerprint != spec.fingerprint:
            label = f"{row.compressor} {row.fingerprint[:12]}"
            left_out[label] = left_out.get(label, 0) + int(row.rows)
    if not mine:
        _refuse(names, spec, left_out)
    return Scope(spec, tuple(names), mine, left_out)


def _committed(names: Sequence[str]) -> sa.Select[Any]:
    return (
        sa.select(
            shards.c.id,
            shards.c.path,
            shards.c.sha256,
            shards.c.rows,
            collections.c.name.label("collection"),
            compressors.c.name.label("compressor"),
            compressors.c.fingerprint,
        )
        .join(collections, collections.c.id == shards.c.collection_id)
        .join(compressors, compressors.c.id == shards.c.compressor_id)
        .where(collections.c.name.in_(names))
        .order_by(shards.c.id)
    )


def _refuse(names: Sequence[str], spec: CompressorSpec, left_out: dict[str, int]) -> None:
    where = ", ".join(names)
    if left_out:
        held = ", ".join(f"{images:,} images of {label}" for label, images in left_out.items())
        raise CompressorMismatch(
            f"{where} holds {held}; the settings name {spec.name} {spec.short}. Tokens of two compressors are never "
            "compared: name that one in compressor.bundle, or compress the images again."
        )
    raise NotInArchive(f"nothing is committed in {where} yet; `fwd2bot night` compresses it")


def counting(
    connection: sa.Connection, shard: Shard, filters: Filters, rows: Collection[int] | None = None
) -> list[tuple[int, int]]:
    """(row, object version) of what counts in a shard, or among ``rows`` of it."""
    query = _live(filters, summaries.c.row, object_versions.c.id).where(summaries.c.shard_id == shard.id)
    if rows is not None:
        query = query.where(summaries.c.row.in_(sorted(rows)))
    return [(int(row), int(number)) for row, number in connection.execute(query)]


def counting_places(
    connection: sa.Connection, places: Collection[tuple[int, int]], filters: Filters
) -> dict[tuple[int, int], list[int]]:
    """The object versions that count of each place, which is a shard's number and a row."""
    query = _live(filters, summaries.c.shard_id, summaries.c.row, object_versions.c.id)
    place = sa.tuple_(summaries.c.shard_id, summaries.c.row)
    wanted, found = iter(sorted(places)), dict[tuple[int, int], list[int]]()
    while some := list(islice(wanted, AT_ONCE)):
        for shard, row, number in connection.execute(query.where(place.in_(some))):
            found.setdefault((int(shard), int(row)), []).append(int(number))
    return found


def matching(connection: sa.Connection, scope: Scope, filters: Filters) -> Iterator[tuple[int, str, int]]:
    """(object version, shard, row) of everything that counts, shard by shard; read it before the next query."""
    mine = sa.select(collections.c.id).where(collections.c.name.in_(scope.collections))
    query = (
        _live(filters, object_versions.c.id, shards.c.path, summaries.c.row)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .where(shards.c.collection_id.in_(mine), compressors.c.fingerprint == scope.spec.fingerprint)
        .order_by(shards.c.id, summaries.c.row)
    )
    for number, path, row in connection.execute(query, execution_options={"yield_per": 10_000}):
        yield int(number), path, int(row)


def _live(filters: Filters, *columns: Any) -> sa.Select[Any]:
    """Current versions that the filters let through, with their committed rows."""
    photo = object_versions.c
    query = (
        sa.select(*columns)
        .select_from(summaries)
        .join(object_versions, photo.id == summaries.c.object_version_id)
        .where(photo.superseded_at.is_(None))
    )
    if filters.since is not None or filters.until is not None:
        query = query.outerjoin(object_facts, object_facts.c.object_version_id == photo.id)
        taken = sa.func.coalesce(object_facts.c.captured_at, photo.modified, type_=photo.modified.type)
        query = query.where(taken >= filters.since) if filters.since is not None else query
        query = query.where(taken < filters.until) if filters.until is not None else query
    if filters.run is not None:
        of_run = sa.select(shards.c.id).where(shards.c.run_id == filters.run)
        query = query.where(summaries.c.shard_id.in_(of_run))
    for tag in filters.tags:
        tagged = sa.select(object_tags.c.object_version_id).where(object_tags.c.tag == tag)
        query = query.where(photo.id.in_(tagged))
    if filters.original:
        query = query.where(photo.destroyed_seq.is_(None))
    return query

"""What a night would do, without doing it: images, bytes, time and stored bytes, each with where it comes from.

Runs the same listing and the same anti-joins as the night, and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens import pooled
from fwd2bot_core.tokens.codec import row_bytes
from fwd2bot_core.tokens.codec_name import CodecName
from infra.installation import Installation
from infra.tables import PLANNED, batches, collections, compressors, runs, shards
from tasks.discover import Discovery
from tasks.find_new import find_new
from tasks.plan import batch_size, due, failed, of_nights

ROW_OVERHEAD = 160  # bytes a row beside tokens and pooled vector, before any shard was measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Sizes in bytes; ``seconds`` is None before the first measured night."""

    collection: str
    compressor: str
    listed: int
    images: int  # that a night would compress: new, waiting and left behind
    bytes: int
    new: int
    resumed: int
    failed: int  # that `retry --only failed` would try again
    batches: int
    batch_size: int
    stored_bytes: int
    stored_from: str
    seconds: float | None
    seconds_from: str

    @property
    def nothing(self) -> bool:
        return self.images == 0


def estimate(house: Installation, collection: str | None) -> Estimate:
    """Count what `fwd2bot night` would take on. Raises ``StoreError``."""
    name, source = house.settings.collection(collection)
    collection_id, compressor_id = _known(house, name)
    found = find_new(house, name, collection_id)
    with house.ledger.read() as connection:
        waiting, waiting_bytes = _waiting(connection, collection_id, compressor_id)
        left = _left_behind(connection, collection_id, compressor_id)
        per_image, stored_from = _stored(connection, house.spec(name), compressor_id, source.codec)
        rate, rate_from = _rate(connection, compressor_id)
        again = _failed(connection, collection_id, compressor_id)
    return _assemble(
        house,
        name,
        found,
        (waiting, waiting_bytes),
        left,
        again,
        (per_image, stored_from),
        (rate, rate_from),
    )


def costs(
    house: Installation, collection: str, images: int
) -> tuple[tuple[float | None, str], tuple[int, str]]:
    """(seconds, where from) and (stored bytes, where from) of compressing so many images; seconds None before the first
    measured night."""
    _, source = house.settings.collection(collection)
    _, compressor_id = _known(house, collection)
    with house.ledger.read() as connection:
        per_image, stored_from = _stored(connection, house.spec(collection), compressor_id, source.codec)
        rate, rate_from = _rate(connection, compressor_id)
    seconds = round(images / rate, 1) if rate else None
    return (seconds, rate_from), (round(images * per_image), stored_from)


class _News(Exception):
    """The listing has come to something new: no error, but an end to listing on."""


def anything_to_do(
    house: Installation, collection: str, kind: str, *, progress: Callable[[Discovery], None] = lambda _: None
) -> bool:
    """Whether a "night" or "retry" would compress anything. Asks the ledger first, and lists only as far as the
    first new image, and nothing for a retry. Raises ``StoreError``."""
    collection_id, compressor_id = _known(house, collection)
    with house.ledger.read() as connection:
        if _left_behind(connection, collection_id, compressor_id)[2]:
            return True
        if kind == "retry":
            return _failed(connection, collection_id, compressor_id) > 0
        if _waiting(connection, collection_id, compressor_id)[0]:
            return True

    def look(found: Discovery) -> None:
        progress(found)
        if found.new:
            raise _News

    try:
        find_new(house, collection, collection_id, progress=look)
    except _News:
        return True
    return False


def _known(house: Installation, collection: str) -> tuple[int | None, int | None]:
    """The ledger's ids of a collection and of its compressor in use, where it has met them."""
    with house.ledger.read() as connection:
        return (
            connection.execute(
                sa.select(collections.c.id).where(collections.c.name == collection)
            ).scalar_one_or_none(),
            connection.execute(
                sa.select(compressors.c.id).where(
                    compressors.c.fingerprint == house.spec(collection).fingerprint
                )
            ).scalar_one_or_none(),
        )


def _failed(connection: sa.Connection, collection_id: int | None, compressor_id: int | None) -> int:
    if collection_id is None or compressor_id is None:
        return 0
    return _count(connection, failed(collection_id, compressor_id))[0]


def _assemble(
    house: Installation,
    name: str,
    found: Discovery,
    waiting: tuple[int, int],
    left: tuple[int, int, int],
    again: int,
    stored: tuple[float, str],
    rate: tuple[float | None, str],
) -> Estimate:
    fresh = found.new + waiting[0]
    images = fresh + left[0]
    size = batch_size(fresh, house.settings)
    return Estimate(
        collection=name,
        compressor=house.spec(name).short,
        listed=found.listed,
        images=images,
        bytes=found.new_bytes + waiting[1] + left[1],
        new=found.new,
        resumed=left[0],
        failed=again,
        batches=-(-fresh // size) + left[2],
        batch_size=size,
        stored_bytes=round(images * stored[0]),
        stored_from=stored[1],
        seconds=round(images / rate[0], 1) if rate[0] else None,
        seconds_from=rate[1],
    )


def _count(connection: sa.Connection, query: sa.Select[Any]) -> tuple[int, int]:
    rows = query.subquery()
    found = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(rows.c.size), 0)).select_from(rows)
    ).one()
    return int(found[0]), int(found[1])


def _waiting(
    connection: sa.Connection, collection_id: int | None, compressor_id: int | None
) -> tuple[int, int]:
    return (0, 0) if collection_id is None else _count(connection, due(collection_id, compressor_id))


def _left_behind(
    connection: sa.Connection, collection_id: int | None, compressor_id: int | None
) -> tuple[int, int, int]:
    """Images, bytes and batches that a night would resume."""
    row = connection.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(batches.c.units), 0),
            sa.func.coalesce(sa.func.sum(batches.c.bytes), 0),
            sa.func.count(),
        ).where(
            batches.c.collection_id == collection_id,
            batches.c.compressor_id == compressor_id,
            PLANNED,
            of_nights(),
        )
    ).one()
    return int(row[0]), int(row[1]), int(row[2])


def _stored(
    connection: sa.Connection, spec: CompressorSpec, compressor_id: int | None, codec: CodecName
) -> tuple[float, str]:
    """Bytes an image; measured on what was stored in this codec, if anything was."""
    row = connection.execute(
        sa.select(sa.func.sum(shards.c.bytes), sa.func.sum(shards.c.rows)).where(
            shards.c.compressor_id == compressor_id, shards.c.codec == codec
        )
    ).one()
    if row[1]:
        return float(row[0]) / float(row[1]), f"measured on {row[1]:,} images"
    whole = row_bytes(spec, codec) + pooled.row_bytes(spec.d, codec) + ROW_OVERHEAD
    return float(whole), f"assumed: nothing stored yet as {codec}"


def _rate(connection: sa.Connection, compressor_id: int | None) -> tuple[float | None, str]:
    """Images a second of the last run that compressed a fair number with this compressor."""
    recent = connection.execute(
        sa.select(runs.c.id, runs.c.summary)
        .where(runs.c.compressor_id == compressor_id, runs.c.summary.is_not(None))
        .order_by(runs.c.started_at.desc())
        .limit(20)
    ).all()
    best = max(recent, key=lambda row: json.loads(row.summary)["compressed"], default=None)
    if best is None or not json.loads(best.summary)["images_per_second"]:
        return None, "unknown: no night has run with this compressor"
    return float(json.loads(best.summary)["images_per_second"]), f"measured in {best.id}"

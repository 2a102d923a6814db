"""An archive of as many images as a bench wants, without originals: vectors that are mixtures of real ones.

Real: those of held-out trays by the shipped bundle, at k = 1, so that a million images take a gigabyte. Knows how
shards and the ledger are filled; knows nothing of what is measured on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.nano import exam
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens.shard import ShardRow, ShardWriter, shard_path
from infra.archive import Archive
from infra.installation import Installation
from infra.settings import load_settings
from infra.tables import batches, collections, compressors, runs, shards
from tests.houses import COLLECTION, write_settings

NIGHT, AT = date(2026, 11, 24), datetime(2026, 11, 24, 1, tzinfo=UTC)
ROWS = 1_000  # of a shard
REAL = 200  # trays
NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
FILL = (
    """INSERT INTO object_versions (id, collection_id, key, identity, size, modified, salt, first_seen_at)
       SELECT n, 1, printf('line-1/tray-%08d.jpg', n), 'v:' || n, 200000, '2026-11-01 00:00:00.000000',
       randomblob(16), '2026-11-24 00:00:00.000000' FROM numbers""",
    f"""INSERT INTO summaries (object_version_id, compressor_id, shard_id, row, source_bytes, token_bytes)
       SELECT n, 1, (n - 1) / {ROWS} + 1, (n - 1) % {ROWS}, 200000, 512 FROM numbers""",
)


@dataclass(frozen=True)
class Corpus:
    """The open archive, all its vectors [N, d], and captions of held-out trays with their vectors [Q, d]."""

    archive: Archive
    vectors: np.ndarray[Any, np.dtype[np.float32]]
    queries: np.ndarray[Any, np.dtype[np.float32]]

    @property
    def house(self) -> Installation:
        return self.archive.house


def make(folder: Path, images: int) -> Corpus:
    """``images``, a multiple of 1,000, in a new folder; the same ones each time."""
    (folder / "photos").mkdir(parents=True)
    sections = {"compressor": {"bundle": "nano"}, "compressor.view": {"k": 1}}
    house = Installation(load_settings(write_settings(folder / "fwd2bot.toml", **sections)))
    archive = Archive(house)
    model = archive.model(COLLECTION)
    assert isinstance(model, Fwd2BotCompressor)
    held = exam.shipped(model.prepare, REAL)
    real = np.concatenate([model.compress(held.images[i : i + 50]).pooled for i in range(0, REAL, 50)])
    vectors = mixtures(real, images)
    _fill(house, _write(house, vectors))
    return Corpus(archive, vectors, np.stack([model.embed_text(caption) for caption in held.captions]))


def mixtures(real: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors, each three of the ``real`` ones by chance weights, and a little noise."""
    dice = np.random.default_rng(0)
    made = np.empty((count, real.shape[1]), np.float32)
    for start in range(0, count, 50_000):
        some = slice(start, min(start + 50_000, count))
        size = some.stop - some.start
        weights = dice.dirichlet((0.5, 0.5, 0.5), size).astype(np.float32)
        parts = real[dice.integers(0, len(real), (size, 3))]
        noise = dice.standard_normal((size, real.shape[1]), np.float32) * (0.3 / real.shape[1] ** 0.5)
        mixed = np.einsum("np,npd->nd", weights, parts) + noise
        made[some] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return made


def _write(house: Installation, vectors: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    """The shards; their rows for the ledger."""
    spec = house.spec(COLLECTION)
    written = []
    for start in range(0, len(vectors), ROWS):
        some = vectors[start : start + ROWS]
        writer = ShardWriter(spec, COLLECTION)
        for at in range(0, len(some), 64):
            few = some[at : at + 64]
            writer.append(_rows(start + at + 1, len(few)), few[:, None, :], few)
        data, number = writer.finish(), start // ROWS + 1
        sha256 = hashlib.sha256(data).hexdigest()
        path = shard_path(spec, NIGHT, f"{number:032x}", sha256)
        house.archive.create(path, data)
        written.append({"id": number, "path": path, "sha256": sha256, "bytes": len(data), "rows": len(some)})
    return written


def _rows(first: int, count: int) -> list[ShardRow]:
    return [
        ShardRow(n, f"{n:064x}", f"line-1/tray-{n:08}.jpg", f"v:{n}", AT, 96, 96, "JPEG", 200_000)
        for n in range(first, first + count)
    ]


def _fill(house: Installation, written: Sequence[dict[str, Any]]) -> None:
    spec, images = house.spec(COLLECTION), sum(one["rows"] for one in written)
    with house.ledger.write() as connection:
        _begin(connection, spec)
        one = {"collection_id": 1, "compressor_id": 1, "run_id": "r", "night": NIGHT}
        connection.execute(
            batches.insert(),
            [
                one | {"id": f"{w['id']:032x}", "state": "committed", "units": w["rows"], "bytes": 1}
                | {"attempts": 1, "planned_at": AT}
                for w in written
            ],
        )  # fmt: skip
        rows = [one | w | {"batch_id": f"{w['id']:032x}", "committed_at": AT} for w in written]
        connection.execute(shards.insert(), rows)
        for statement in FILL:
            connection.exec_driver_sql(NUMBERS.format(count=images) + statement)
        connection.execute(sa.text("ANALYZE"))


def _begin(connection: sa.Connection, spec: CompressorSpec) -> None:
    connection.execute(
        collections.insert().values(id=1, name=COLLECTION, originals="o", prefix="", registered_at=AT)
    )
    connection.execute(
        compressors.insert().values(
            id=1,
            fingerprint=spec.fingerprint,
            name=spec.name,
            k=spec.k,
            d=spec.d,
            dtype=spec.dtype,
            token_bytes=spec.token_bytes,
            registered_at=AT,
        )
    )
    connection.execute(
        runs.insert().values(
            id="r", kind="night", collection_id=1, compressor_id=1, state="completed", fencing=1, night=NIGHT,
            started_at=AT, host="h", pid=1, software="bench",
        )
    )  # fmt: skip

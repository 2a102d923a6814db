"""A ledger in which nights have compressed very many images long ago, filled by SQL within the database.

Holds what nights write, row for row: versions, contents, claims, summaries; runs of a hundred batches, each with shard,
segment and audit event, which are really appended to the log. Knows nothing of what is asked afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from infra import audit_log
from infra.database import Ledger
from infra.tables import audit_segments
from tests.bench.audit_append import committed_batch

BATCHES = 100  # a run
BIG = (
    "object_versions",
    "contents",
    "work",
    "summaries",
    "batches",
    "shards",
    "audit_events",
    "audit_segments",
)
_AT = "'2026-01-01 00:00:00.000000'"
WORDS = {
    "sqlite": {
        # in no order, as hashes are, and another one for each number
        "sha": "printf('%08x', n * 2654435761 % 4294967296) || printf('%056x', n)",
        "salt": "randomblob(16)",
        "key": "printf('2026/%05d/tray-%08d.jpg', n / 1000, n)",
        "at": _AT,
    },
    "postgresql": {
        "sha": "encode(sha256(n::text::bytea), 'hex')",
        "salt": "substring(sha256(n::text::bytea) for 16)",
        "key": "'2026/' || lpad((n / 1000)::text, 5, '0') || '/tray-' || lpad(n::text, 8, '0') || '.jpg'",
        "at": f"{_AT}::timestamptz",
    },
}
NUMBERS = (
    "WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) "
)
OF_RUNS = (
    """INSERT INTO runs (id, kind, collection_id, compressor_id, state, fencing, night, started_at, ended_at, host, pid,
       software) SELECT 'night-' || n, 'night', {collection}, {compressor}, 'completed', 1, '2026-01-01', {at}, {at},
       'host', 1, 'filled' FROM numbers""",
)  # fmt: skip
OF_BATCHES = (
    """INSERT INTO batches (id, collection_id, compressor_id, run_id, night, state, units, bytes, attempts, planned_at,
       finished_at, worker, bytes_in, bytes_out) SELECT 'filled-' || n, {collection}, {compressor},
       'night-' || (n / 100), '2026-01-01', 'committed', {batch}, 200000000, 1, {at}, {at}, 'worker', 200000000, 6000000
       FROM numbers""",
    """INSERT INTO shards (id, path, batch_id, collection_id, compressor_id, run_id, night, sha256, bytes, rows,
       committed_at) SELECT {shards} + n, 'tokens/compressor={short}/date=2026-01-01/' || n || '.parquet',
       'filled-' || n, {collection}, {compressor}, 'night-' || (n / 100), '2026-01-01', {sha}, 6000000, {batch}, {at}
       FROM numbers""",
)  # fmt: skip
OF_IMAGES = (
    """INSERT INTO contents (sha256, size, width, height, format) SELECT {sha}, 150000 + n - n / 100000 * 100000, 1600,
       1200, 'JPEG' FROM numbers""",
    """INSERT INTO object_versions (id, collection_id, key, identity, size, modified, salt, content_sha256,
       first_seen_at, facts) SELECT {images} + n, {collection}, {key}, 'etag:' || n || ':150000', 150000, {at}, {salt},
       {sha}, {at}, 1 FROM numbers""",
    """INSERT INTO work (object_version_id, compressor_id, batch_id, state, failures) SELECT {images} + n, {compressor},
       'filled-' || (n / {batch}), 'compressed', 0 FROM numbers""",
    """INSERT INTO summaries (object_version_id, compressor_id, shard_id, row, source_bytes, token_bytes) SELECT
       {images} + n, {compressor}, {shards} + n / {batch}, n - n / {batch} * {batch}, 150000, 5760 FROM numbers""",
)  # fmt: skip
PART = 100_000  # images in one transaction


def fill(ledger: Ledger, images: int, batch: int = 1_000) -> None:
    """Add ``images``, in shards of ``batch``, to a ledger whose first night, over one collection, compressed some."""
    last = images // batch
    with ledger.write() as connection:
        said = _standing(connection) | WORDS[ledger.engine.dialect.name] | {"batch": str(batch)}
        _insert(connection, OF_RUNS, said, 0, last // BATCHES)
        _insert(connection, OF_BATCHES, said, 0, last)
    for first in range(0, last + 1, BATCHES):
        with ledger.write() as connection:
            _log(connection, range(first, min(first + BATCHES, last + 1)), batch)
    for first in range(0, images, PART):
        with ledger.write() as connection:
            _insert(connection, OF_IMAGES, said, first, min(first + PART, images) - 1)
    if ledger.engine.dialect.name == "postgresql":
        with ledger.write() as connection:
            for table in ("object_versions", "shards"):  # new rows come after these
                number = f"pg_get_serial_sequence('{table}', 'id')"
                connection.execute(sa.text(f"SELECT setval({number}, max(id)) FROM {table}"))
    settle(ledger)


def settle(ledger: Ledger) -> None:
    """Statistics are gathered and, in SQLite, the write-ahead log is in the file: as by day, after a night."""
    with ledger.write() as connection:
        connection.execute(sa.text("ANALYZE"))
    if ledger.engine.dialect.name == "sqlite":
        with ledger.engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")  # a checkpoint of the write-ahead log wants no transaction
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def size_of(ledger: Ledger) -> int:
    """Bytes on disk."""
    if ledger.engine.dialect.name == "sqlite":
        return Path(ledger.engine.url.database or "").stat().st_size
    with ledger.read() as connection:
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())


def _standing(connection: sa.Connection) -> dict[str, str]:
    def one(query: str) -> str:
        return str(connection.execute(sa.text(query)).scalar_one())

    return {
        "collection": one("SELECT min(id) FROM collections"),
        "short": one("SELECT min(fingerprint) FROM compressors")[:12],
        "compressor": one("SELECT min(id) FROM compressors"),
        "images": one("SELECT max(id) + 1 FROM object_versions"),
        "shards": one("SELECT max(id) + 1 FROM shards"),
    }


def _insert(
    connection: sa.Connection, statements: tuple[str, ...], said: dict[str, str], first: int, last: int
) -> None:
    numbers = NUMBERS.format(first=first, last=last)
    for statement in statements:
        into, select = statement.format(**said).split("SELECT", 1)
        connection.exec_driver_sql(f"{into}{numbers}SELECT{select}")


def _log(connection: sa.Connection, numbers: range, batch: int) -> None:
    """The event and the segment of each batch."""
    first = audit_log.append_all(
        connection,
        [replace(committed_batch(number), run_id=f"night-{number // BATCHES}") for number in numbers],
    )
    rows = [
        {
            "seq": seq,
            "batch_id": f"filled-{number}",
            "path": f"audit/segments/filled/{number}.jsonl",
            "sha256": "0" * 64,
            "bytes": 500_000,
            "rows": batch,
            "subroot": "0" * 64,
        }
        for seq, number in enumerate(numbers, first)
    ]
    connection.execute(audit_segments.insert(), rows)

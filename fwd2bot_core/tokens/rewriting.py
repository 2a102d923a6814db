"""A shard again, without some of its rows: what erasing photos needs.

Knows one file's bytes. Knows nothing about which rows are to go, or why.
"""

from __future__ import annotations

import io
from collections.abc import Collection

import pyarrow as pa

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.shard import ROWS_PER_GROUP, guarded, opened, parquet_writer, read_head


def without_rows(data: bytes, rows: Collection[int]) -> bytes | None:
    """The shard in ``data`` without ``rows``, byte for byte as if these had never been in it; None if none is left.

    Raises ``IntegrityError`` for anything that is not a shard, or that has no such row.
    """
    read_head(io.BytesIO(data))
    return guarded(lambda: _rewritten(data, set(rows)))


def _rewritten(data: bytes, gone: set[int]) -> bytes | None:
    table = opened(io.BytesIO(data)).read()
    if strange := sorted(gone - set(range(table.num_rows))):
        raise IntegrityError(f"the shard has {table.num_rows} rows, so no row {strange[0]}")
    kept = table.take(pa.array([row for row in range(table.num_rows) if row not in gone], pa.int64()))
    if not kept.num_rows:
        return None
    sink = io.BytesIO()
    with parquet_writer(sink, table.schema) as writer:
        for start in range(0, kept.num_rows, ROWS_PER_GROUP):
            group = kept.slice(start, ROWS_PER_GROUP).combine_chunks()
            writer.write_table(group, row_group_size=ROWS_PER_GROUP)
    return sink.getvalue()

"""Summary tokens as Parquet files: writing, whole reads and point lookups.

Knows one file's bytes. Knows nothing about where files lie, which of them are committed, or what time it is:
equal input gives equal bytes. Any Parquet reader can use the files; each says how, see ``schema``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import CompressorMismatch, IntegrityError
from fwd2bot_core.tokens import codec as codecs
from fwd2bot_core.tokens import pooled as pooling
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.numbers import finite_rows, stored_dtype
from fwd2bot_core.tokens.schema import Head, head_of, schema_of

ROWS_PER_GROUP = 64  # 9-16 ms for the lookup of one row; see docs/decisions.md

# Names and hashes can identify a person, so no statistics repeat them in the footer.
_WITH_STATISTICS = [
    "object_version_id",
    "collection",
    "modified",
    "width",
    "height",
    "format",
    "source_bytes",
]
_WITH_DICTIONARY = ["collection", "format"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What a shard says about one image beside its tokens."""

    object_version_id: int
    content_sha256: str  # 64 hex digits
    key: str
    identity: str
    modified: datetime  # aware; stored in UTC, microseconds
    width: int  # of the upright original
    height: int
    format: str
    source_bytes: int


def shard_path(spec: CompressorSpec, night: date, batch_id: str, body_sha256: str) -> str:
    """``tokens/compressor=<12 hex>/date=2026-11-24/<16 hex of the batch>-<16 hex of the body>.parquet``."""
    partition = f"tokens/compressor={spec.short}/date={night.isoformat()}"
    return f"{partition}/{batch_id[:16]}-{body_sha256[:16]}.parquet"


class ShardWriter:
    """Builds one shard row group by row group, so that compressing overlaps with the model.

    Use from one thread at a time.
    """

    def __init__(self, spec: CompressorSpec, collection: str, codec: CodecName = "exact") -> None:
        self.spec = spec
        self.codec = codec
        self.rows = 0  # appended so far
        self._collection = collection
        self._schema = schema_of(spec, codec)
        self._waiting: list[Any] = []  # record batches that do not fill a row group yet
        self._sink = io.BytesIO()
        self._parquet = parquet_writer(self._sink, self._schema)

    def append(
        self, rows: Sequence[ShardRow], tokens: npt.NDArray[Any], pooled: npt.NDArray[np.float32]
    ) -> int:
        """Append ``rows`` with ``tokens`` [B, k, d] and ``pooled`` [B, d] float32; gives the first one's row.

        Raises ``ValueError`` if the three differ in length or a number is not finite (filter with
        ``numbers.finite_rows`` first), ``CompressorMismatch`` for tokens of another shape or dtype.
        """
        _check(self.spec, rows, tokens, pooled)
        columns = [
            [row.object_version_id for row in rows],
            [bytes.fromhex(row.content_sha256) for row in rows],
            [self._collection] * len(rows),
            *([getattr(row, name) for row in rows] for name in _PLAIN),
            codecs.encode(tokens, self.spec, self.codec),
            pooling.encode(pooled, self.codec),
        ]
        arrays = [
            pa.array(column, field.type) if isinstance(column, list) else column.cast(field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        first, self.rows = self.rows, self.rows + len(rows)
        self._write_groups(ROWS_PER_GROUP)
        return first

    def finish(self) -> bytes:
        """The file's bytes: they depend on the rows and their order, not on how ``append`` grouped them."""
        self._write_groups(1)
        self._parquet.close()
        return self._sink.getvalue()

    def _write_groups(self, smallest: int) -> None:
        """Write what waits in groups of 64 rows, as long as at least ``smallest`` rows wait."""
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        written = 0
        while table.num_rows - written >= smallest:
            group = table.slice(written, ROWS_PER_GROUP).combine_chunks()
            self._parquet.write_table(group, row_group_size=ROWS_PER_GROUP)
            written += group.num_rows
        self._waiting = [table.slice(written)] if written < table.num_rows else []


def write_shard(
    spec: CompressorSpec,
    collection: str,
    rows: Sequence[ShardRow],
    tokens: npt.NDArray[Any],
    pooled: npt.NDArray[np.float32],
    codec: CodecName = "exact",
) -> bytes:
    """A whole shard at once; see ``ShardWriter.append``."""
    writer = ShardWriter(spec, collection, codec)
    writer.append(rows, tokens, pooled)
    return writer.finish()


def parquet_writer(sink: BinaryIO, schema: Any) -> Any:
    """How every shard is written, so that equal rows give equal bytes."""
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        use_dictionary=_WITH_DICTIONARY,
        write_statistics=_WITH_STATISTICS,
        write_page_checksum=True,  # so that a point lookup notices damage without reading the whole file
    )


_PLAIN = ("key", "identity", "modified", "width", "height", "format", "source_bytes")


def _check(
    spec: CompressorSpec, rows: Sequence[ShardRow], tokens: npt.NDArray[Any], pooled: npt.NDArray[np.float32]
) -> None:
    if pooled.shape != (len(rows), spec.d) or pooled.dtype != np.float32 or len(tokens) != len(rows):
        raise ValueError(f"{len(rows)} rows need as many tokens and pooled [{len(rows)}, {spec.d}] float32")
    if not (finite_rows(tokens, spec).all() and np.isfinite(pooled).all()):
        raise ValueError("tokens that are not finite must be rejected before a shard is written")


def read_head(file: BinaryIO) -> Head:
    """Which compressor and codec made this shard. Raises ``IntegrityError`` for anything that is not a shard."""
    return guarded(lambda: _head(opened(file)))


def read_rows(file: BinaryIO) -> list[ShardRow]:
    """Every row, in order, without reading tokens. Raises ``IntegrityError``."""
    names = ["object_version_id", "content_sha256", *_PLAIN]

    def read() -> list[ShardRow]:
        rows = opened(file).read(columns=names).to_pylist()
        return [ShardRow(**row | {"content_sha256": row["content_sha256"].hex()}) for row in rows]

    return guarded(read)


def read_tokens(
    file: BinaryIO, row: int, fingerprint: str, object_version_id: int | None = None
) -> npt.NDArray[Any]:
    """Row ``row``'s [k, d] summary tokens, reading only that row's group; see ``read_many``."""
    found: npt.NDArray[Any] = read_many(file, [row], fingerprint, [object_version_id])[0]
    return found


def read_many(
    file: BinaryIO,
    rows: Sequence[int],
    fingerprint: str,
    object_version_ids: Sequence[int | None] | None = None,
) -> npt.NDArray[Any]:
    """The [B, k, d] summary tokens of ``rows`` as their codec gives them back, reading each row group at most once.

    Raises ``CompressorMismatch`` if another compressor made the shard, ``IntegrityError`` if it is damaged, has
    no such row, or holds another image there than ``object_version_ids`` say (None: whatever lies there).
    """
    expected = object_version_ids or [None] * len(rows)

    def read() -> npt.NDArray[Any]:
        shard = opened(file)
        head = head_by(shard, fingerprint)
        spec = head.spec
        _check_width(shard, head)
        located = [group_of(shard, row) for row in rows]
        found = np.empty((len(rows), spec.k, spec.d), stored_dtype(spec))
        for group in sorted({group for group, _ in located}):
            mine = [at for at, (its, _) in enumerate(located) if its == group]
            table = shard.read_row_group(group, columns=["object_version_id", "tokens"])
            picked = table.take(pa.array([located[at][1] for at in mine]))
            numbers = picked.column("object_version_id").to_pylist()
            for at, number in zip(mine, numbers, strict=True):
                check_image(rows[at], number, expected[at])
            found[mine] = codecs.decode(picked.column("tokens").combine_chunks(), spec, head.codec)
        return found

    return guarded(read)


def head_by(shard: Any, fingerprint: str) -> Head:
    """What an opened shard says of itself. Raises ``CompressorMismatch`` if another compressor made it."""
    head = _head(shard)
    if head.spec.fingerprint != fingerprint:
        raise CompressorMismatch(
            f"the tokens were made by {head.spec.name} ({head.spec.short}), not by {fingerprint[:12]}; "
            "use that compressor, or compress the images again"
        )
    return head


def _check_width(shard: Any, head: Head) -> None:
    """Memory is taken by what the metadata says, so this must be what the rows hold."""
    held, said = shard.schema_arrow.field("tokens").type, codecs.row_bytes(head.spec, head.codec)
    if not pa.types.is_fixed_size_binary(held) or held.byte_width != said:
        raise IntegrityError(f"expected {said} bytes in each row, as the shard says, found {held}")


def check_image(row: int, found: int, expected: int | None) -> None:
    """Raises ``IntegrityError`` if a row shows another image than the ledger says (None: it says nothing)."""
    if expected not in (None, found):
        raise IntegrityError(
            f"row {row} of the shard holds object version {found}, not {expected}: the ledger and the shard "
            "disagree; `fwd2bot verify` names what was altered"
        )


def group_of(shard: Any, row: int) -> tuple[int, int]:
    """The row group that holds ``row``, and its place there."""
    before = 0
    for group in range(shard.num_row_groups if row >= 0 else 0):
        rows = shard.metadata.row_group(group).num_rows
        if row < before + rows:
            return group, row - before
        before += rows
    raise IntegrityError(f"the shard has {shard.metadata.num_rows} rows, so no row {row}")


def opened(file: BinaryIO) -> Any:
    """The shard as a Parquet file that notices damaged pages."""
    return pq.ParquetFile(file, page_checksum_verification=True)


def _head(shard: Any) -> Head:
    return head_of(shard.schema_arrow.metadata)


def guarded(read: Callable[[], T]) -> T:
    """``read()``, with what Arrow and Python say about damaged files turned into ``IntegrityError``."""
    try:
        return read()
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"not a readable shard of summary tokens: {error!r}") from error

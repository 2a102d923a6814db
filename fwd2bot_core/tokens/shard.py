"""The Parquet layout of summary tokens: schema, writing, whole reads and point lookups.

Knows one file's bytes. Knows nothing about where files lie, which of them are committed, or what time it is:
equal input gives equal bytes. Any Parquet reader can use the files; ``LAYOUT`` says how, in the file itself.
"""

from __future__ import annotations

import io
import json
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
from fwd2bot_core.tokens import codec

FORMAT_VERSION = "1"
ROWS_PER_GROUP = 64  # 9-16 ms for the lookup of one row; see docs/decisions.md
LAYOUT = (
    "One row an image. tokens: k*d little-endian numbers of dtype, row-major [k, d]; "
    "numpy.frombuffer(row, dtype).reshape(k, d), where bfloat16 is stored as its 16 bit patterns "
    "(read as uint16; as float32: (bits.astype('uint32') << 16).view('float32')). "
    "pooled: the L2-normalised float32 vector that search compares. "
    "Tokens of two fingerprints must never be mixed."
)

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


def schema_of(spec: CompressorSpec) -> Any:
    """The Arrow schema of a shard, with the compressor written into its metadata."""
    return pa.schema(
        [
            pa.field("object_version_id", pa.int64(), nullable=False),
            pa.field("content_sha256", pa.binary(32), nullable=False),
            pa.field("collection", pa.string(), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("identity", pa.string(), nullable=False),
            pa.field("modified", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("source_bytes", pa.int64(), nullable=False),
            pa.field("tokens", pa.binary(spec.token_bytes), nullable=False),
            pa.field(
                "pooled", pa.list_(pa.field("element", pa.float32(), nullable=False), spec.d), nullable=False
            ),
        ],
        metadata={f"fwd2bot.{name}": value for name, value in _metadata(spec).items()},
    )


def _metadata(spec: CompressorSpec) -> dict[str, str]:
    return {
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "k": str(spec.k),
        "d": str(spec.d),
        "dtype": spec.dtype,
        "prompt": spec.prompt,
        "preprocessing": json.dumps(dict(spec.preprocessing), sort_keys=True),
        "demonstration_only": json.dumps(spec.demonstration_only),
        "layout": LAYOUT,
    }


class ShardWriter:
    """Builds one shard row group by row group, so that compressing overlaps with the model.

    Use from one thread at a time.
    """

    def __init__(self, spec: CompressorSpec, collection: str) -> None:
        self.spec = spec
        self.rows = 0  # appended so far
        self._collection = collection
        self._schema = schema_of(spec)
        self._waiting: list[Any] = []  # record batches that do not fill a row group yet
        self._sink = io.BytesIO()
        self._parquet = pq.ParquetWriter(
            self._sink,
            self._schema,
            compression="zstd",
            use_dictionary=_WITH_DICTIONARY,
            write_statistics=_WITH_STATISTICS,
            write_page_checksum=True,  # so that a point lookup notices damage without reading the whole file
        )

    def append(
        self, rows: Sequence[ShardRow], tokens: npt.NDArray[Any], pooled: npt.NDArray[np.float32]
    ) -> int:
        """Append ``rows`` with ``tokens`` [B, k, d] and ``pooled`` [B, d] float32; gives the first one's row.

        Raises ``ValueError`` if the three differ in length or a number is not finite (filter with
        ``codec.finite_rows`` first), ``CompressorMismatch`` for tokens of another shape or dtype.
        """
        _check(self.spec, rows, tokens, pooled)
        columns = [
            [row.object_version_id for row in rows],
            [bytes.fromhex(row.content_sha256) for row in rows],
            [self._collection] * len(rows),
            *([getattr(row, name) for row in rows] for name in _PLAIN),
            codec.to_arrow(tokens, self.spec),
            pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(pooled).reshape(-1), self.spec.d),
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
) -> bytes:
    """A whole shard at once; see ``ShardWriter.append``."""
    writer = ShardWriter(spec, collection)
    writer.append(rows, tokens, pooled)
    return writer.finish()


_PLAIN = ("key", "identity", "modified", "width", "height", "format", "source_bytes")


def _check(
    spec: CompressorSpec, rows: Sequence[ShardRow], tokens: npt.NDArray[Any], pooled: npt.NDArray[np.float32]
) -> None:
    if pooled.shape != (len(rows), spec.d) or pooled.dtype != np.float32 or len(tokens) != len(rows):
        raise ValueError(f"{len(rows)} rows need as many tokens and pooled [{len(rows)}, {spec.d}] float32")
    if not (codec.finite_rows(tokens, spec).all() and np.isfinite(pooled).all()):
        raise ValueError("tokens that are not finite must be rejected before a shard is written")


def read_spec(file: BinaryIO) -> CompressorSpec:
    """The compressor that made this shard. Raises ``IntegrityError`` for anything that is not a shard."""
    return _guarded(lambda: _spec(_open(file)))


def read_rows(file: BinaryIO) -> list[ShardRow]:
    """Every row, in order, without reading tokens. Raises ``IntegrityError``."""
    names = ["object_version_id", "content_sha256", *_PLAIN]

    def read() -> list[ShardRow]:
        rows = _open(file).read(columns=names).to_pylist()
        return [ShardRow(**row | {"content_sha256": row["content_sha256"].hex()}) for row in rows]

    return _guarded(read)


def read_tokens(
    file: BinaryIO, row: int, fingerprint: str, object_version_id: int | None = None
) -> npt.NDArray[Any]:
    """Row ``row``'s [k, d] summary tokens (bfloat16 as uint16), reading only that row's group.

    Raises ``CompressorMismatch`` if another compressor made the shard, ``IntegrityError`` if it is damaged, has
    no such row, or holds another image there than ``object_version_id`` (None: whatever lies there).
    """

    def read() -> npt.NDArray[Any]:
        shard = _open(file)
        spec = _spec(shard)
        if spec.fingerprint != fingerprint:
            raise CompressorMismatch(
                f"the tokens were made by {spec.name} ({spec.short}), not by {fingerprint[:12]}; "
                "use that compressor, or compress the images again"
            )
        group, inside = _locate(shard, row)
        table = shard.read_row_group(group, columns=["object_version_id", "tokens"])
        found = table.column("object_version_id")[inside].as_py()
        if object_version_id not in (None, found):
            raise IntegrityError(
                f"row {row} of the shard holds object version {found}, not {object_version_id}: the ledger and the "
                "shard disagree; `fwd2bot verify` names what was altered"
            )
        column = table.column("tokens").combine_chunks()
        return codec.from_arrow(column.slice(inside, 1), spec).reshape(spec.k, spec.d)

    return _guarded(read)


def _locate(shard: Any, row: int) -> tuple[int, int]:
    """The row group that holds ``row``, and its place there."""
    before = 0
    for group in range(shard.num_row_groups if row >= 0 else 0):
        rows = shard.metadata.row_group(group).num_rows
        if row < before + rows:
            return group, row - before
        before += rows
    raise IntegrityError(f"the shard has {shard.metadata.num_rows} rows, so no row {row}")


def _open(file: BinaryIO) -> Any:
    return pq.ParquetFile(file, page_checksum_verification=True)


def _spec(shard: Any) -> CompressorSpec:
    metadata = shard.schema_arrow.metadata or {}
    said = {
        key.decode().removeprefix("fwd2bot."): value.decode()
        for key, value in metadata.items()
        if key.startswith(b"fwd2bot.")
    }
    if said["format_version"] != FORMAT_VERSION:
        raise IntegrityError(f"shard format {said['format_version']} is unknown to this version of Fwd2Bot")
    return CompressorSpec(
        name=said["name"],
        fingerprint=said["fingerprint"],
        k=int(said["k"]),
        d=int(said["d"]),
        dtype=said["dtype"],
        prompt=said["prompt"],
        preprocessing=json.loads(said["preprocessing"]),
        demonstration_only=json.loads(said["demonstration_only"]),
    )


def _guarded(read: Callable[[], T]) -> T:
    """``read()``, with what Arrow and Python say about damaged files turned into ``IntegrityError``."""
    try:
        return read()
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"not a readable shard of summary tokens: {error!r}") from error

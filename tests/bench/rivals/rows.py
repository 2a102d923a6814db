"""The columns of our shards as Arrow tables, so that every rival writes the same Parquet.

Knows Arrow and numpy. Knows nothing of models or engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens import codec
from fwd2bot_core.tokens import pooled as pooling

_TAKEN = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ready:
    """A photo before its forward pass."""

    key: str
    sha256: bytes
    size: int
    width: int
    height: int
    pixels: Any  # as the forward that prepared it takes them


def columns(token_bytes: int, d: int) -> Any:
    """The columns of a shard without what an engine's own writer would lose: metadata, refusal of nulls."""
    return pa.schema(
        {
            "object_version_id": pa.int64(),
            "content_sha256": pa.binary(32),
            "collection": pa.string(),
            "key": pa.string(),
            "identity": pa.string(),
            "modified": pa.timestamp("us", tz="UTC"),
            "width": pa.int32(),
            "height": pa.int32(),
            "format": pa.string(),
            "source_bytes": pa.int64(),
            "tokens": pa.binary(token_bytes),
            "pooled": pooling.column_type(d, "exact"),
        }
    )


def table(
    spec: CompressorSpec, photos: Sequence[Ready], tokens: npt.NDArray[Any], pooled: npt.NDArray[np.float32]
) -> Any:
    """A table of ``columns``."""
    count = len(photos)
    lists = [
        range(count),
        [photo.sha256 for photo in photos],
        ["bench"] * count,
        [photo.key for photo in photos],
        ["e:0:0"] * count,
        [_TAKEN] * count,
        [photo.width for photo in photos],
        [photo.height for photo in photos],
        ["JPEG"] * count,
        [photo.size for photo in photos],
    ]
    schema = columns(spec.token_bytes, spec.d)
    arrays = [pa.array(values, kind) for values, kind in zip(lists, schema.types[:-2], strict=True)]
    numbers = [codec.encode(tokens, spec), pooling.encode(np.ascontiguousarray(pooled), "exact")]
    return pa.Table.from_arrays(
        [*arrays, *(one.cast(kind) for one, kind in zip(numbers, schema.types[-2:], strict=True))],
        schema=schema,
    )

"""The vector [d] that search compares, beside the tokens: float32 when these are exact, else int8.

It is L2-normalised, so its int8 form needs no scale: whoever reads it normalises it again. Rounding turns it by
less than 0.01 rad where d numbers are of similar size, which changes no ranking that a person would notice,
and it takes a quarter of the bytes, where float32 would take more than the tokens do.
Knows Arrow columns; knows nothing about files or search.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.byte_rows import byte_rows
from fwd2bot_core.tokens.codec_name import CodecName

LAYOUT = {
    True: "the L2-normalised float32 vector that search compares",
    False: "the direction that search compares: d int8 integers, numpy.frombuffer(row, 'int8'), over their L2 norm",
}


def column_type(d: int, codec: CodecName) -> Any:
    """The Arrow type of the column ``pooled`` beside tokens of ``codec``."""
    if codec == "exact":
        return pa.list_(pa.field("element", pa.float32(), nullable=False), d)
    return pa.binary(d)  # as a list, Parquet would take four bytes for each int8


def layout(codec: CodecName) -> str:
    """In words, for the file."""
    return LAYOUT[codec == "exact"]


def row_bytes(d: int, codec: CodecName) -> int:
    """Bytes of one image's vector."""
    return d * (4 if codec == "exact" else 1)


def encode(pooled: npt.NDArray[np.float32], codec: CodecName) -> Any:
    """[B, d] as an Arrow column of ``column_type``."""
    vectors, kind = np.ascontiguousarray(pooled), column_type(pooled.shape[1], codec)
    if codec == "exact":
        return pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), pooled.shape[1]).cast(kind)
    largest = np.abs(vectors).max(axis=1, keepdims=True).astype(np.float64)
    integers = np.rint(vectors * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(integers), [None, pa.py_buffer(integers)])


def decode(column: Any, d: int) -> npt.NDArray[np.float32]:
    """[B, d] float32, L2-normalised, of a column of either type; raises ``IntegrityError`` for another one."""
    if column.null_count or column.type not in (column_type(d, "exact"), column_type(d, "int8")):
        raise IntegrityError(f"expected vectors of {d} numbers, found {column.type}")
    if column.type != pa.binary(d):
        return np.asarray(column.flatten()).reshape(len(column), d)
    integers = byte_rows(column, d).view(np.int8)
    length = np.linalg.norm(integers.astype(np.float32), axis=1, keepdims=True)
    return np.asarray(integers / np.maximum(length, 1), dtype=np.float32)

"""How k x d numbers become bytes and come back: exactly, in the model's own dtype, little-endian.

Knows shapes and bit patterns; numpy has no bfloat16, so those travel as uint16. Knows nothing about files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import CompressorMismatch, IntegrityError

_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}
_BFLOAT16_EXPONENT = 0x7F80  # all ones here means infinity or NaN


def stored_dtype(spec: CompressorSpec) -> np.dtype[Any]:
    """The numpy dtype of stored tokens; bfloat16 is its uint16 bit patterns."""
    return _STORED[spec.dtype]


def finite_rows(tokens: npt.NDArray[Any], spec: CompressorSpec) -> npt.NDArray[np.bool_]:
    """[B] booleans: True where every one of a row's k x d numbers is finite."""
    rows = _checked(tokens, spec).reshape(len(tokens), spec.k * spec.d)
    bits = spec.dtype == "bfloat16"
    finite = (rows & _BFLOAT16_EXPONENT) != _BFLOAT16_EXPONENT if bits else np.isfinite(rows)
    return np.asarray(finite.all(axis=1), dtype=np.bool_)


def to_arrow(tokens: npt.NDArray[Any], spec: CompressorSpec) -> Any:
    """[B, k, d] as a fixed-size-binary Arrow array of B rows; shares memory where ``tokens`` is contiguous.

    Raises ``CompressorMismatch`` for another shape or dtype than the compressor's.
    """
    data = np.ascontiguousarray(_checked(tokens, spec))
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(spec.token_bytes), len(data), [None, pa.py_buffer(data.reshape(-1).view(np.uint8))]
    )


def from_arrow(array: Any, spec: CompressorSpec) -> npt.NDArray[Any]:
    """The [B, k, d] numbers of a fixed-size-binary Arrow array, as a read-only view of its memory.

    Raises ``IntegrityError`` for nulls or another width.
    """
    if array.type != pa.binary(spec.token_bytes) or array.null_count:
        raise IntegrityError(f"expected {spec.token_bytes} bytes in each row, found {array.type}")
    if not len(array):
        return np.empty((0, spec.k, spec.d), stored_dtype(spec))
    count = len(array) * spec.k * spec.d
    flat = np.frombuffer(
        array.buffers()[1], stored_dtype(spec), count=count, offset=array.offset * spec.token_bytes
    )
    return flat.reshape(len(array), spec.k, spec.d)


def decode_row(buffer: bytes | memoryview, spec: CompressorSpec) -> npt.NDArray[Any]:
    """One row's [k, d] numbers, read-only. Raises ``IntegrityError`` for another length."""
    if memoryview(buffer).nbytes != spec.token_bytes:
        raise IntegrityError(
            f"{memoryview(buffer).nbytes} bytes are not {spec.k} x {spec.d} numbers of {spec.dtype}"
        )
    return np.frombuffer(buffer, stored_dtype(spec)).reshape(spec.k, spec.d)


def _checked(tokens: npt.NDArray[Any], spec: CompressorSpec) -> npt.NDArray[Any]:
    """``tokens`` in stored byte order, or ``CompressorMismatch``."""
    wanted = stored_dtype(spec)
    if tokens.shape[1:] != (spec.k, spec.d) or tokens.dtype.newbyteorder("<") != wanted:
        shape = f"[B, {spec.k}, {spec.d}] {wanted.name}"
        raise CompressorMismatch(f"{spec.name} makes {shape}, not {list(tokens.shape)} {tokens.dtype}")
    return tokens.astype(wanted, copy=False)

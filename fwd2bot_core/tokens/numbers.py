"""The numbers of summary tokens as numpy sees them: in the model's own dtype, little-endian, and as float32 in between.

numpy has no bfloat16, so those travel as their uint16 bit patterns. Knows nothing about how numbers are stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import CompressorMismatch

_STORED: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}
_BFLOAT16_EXPONENT = 0x7F80  # all ones here means infinity or NaN
_LARGEST = {
    "float32": float(np.finfo(np.float32).max),
    "float16": float(np.finfo(np.float16).max),
    "bfloat16": float(np.array(0x7F7F << 16, np.uint32).view(np.float32)),
}


def stored_dtype(spec: CompressorSpec) -> np.dtype[Any]:
    """The numpy dtype of summary tokens; bfloat16 is its uint16 bit patterns."""
    return _STORED[spec.dtype]


def checked(tokens: npt.NDArray[Any], spec: CompressorSpec) -> npt.NDArray[Any]:
    """[B, k, d] in stored byte order; raises ``CompressorMismatch`` for another shape or dtype."""
    wanted = stored_dtype(spec)
    if tokens.shape[1:] != (spec.k, spec.d) or tokens.dtype.newbyteorder("<") != wanted:
        shape = f"[B, {spec.k}, {spec.d}] {wanted.name}"
        raise CompressorMismatch(f"{spec.name} makes {shape}, not {list(tokens.shape)} {tokens.dtype}")
    return tokens.astype(wanted, copy=False)


def finite_rows(tokens: npt.NDArray[Any], spec: CompressorSpec) -> npt.NDArray[np.bool_]:
    """[B] booleans: True where every one of a row's k x d numbers is finite."""
    rows = checked(tokens, spec).reshape(len(tokens), spec.k * spec.d)
    bits = spec.dtype == "bfloat16"
    finite = (rows & _BFLOAT16_EXPONENT) != _BFLOAT16_EXPONENT if bits else np.isfinite(rows)
    return np.asarray(finite.all(axis=1), dtype=np.bool_)


def widened(tokens: npt.NDArray[Any], spec: CompressorSpec) -> npt.NDArray[np.float32]:
    """The same numbers as float32, exactly."""
    if spec.dtype == "bfloat16":
        return (tokens.astype(np.uint32) << 16).view(np.float32)
    return tokens.astype(np.float32, copy=False)


def narrowed(numbers: npt.NDArray[np.float64], spec: CompressorSpec) -> npt.NDArray[Any]:
    """The nearest finite numbers of the model's dtype; what is too large becomes the largest."""
    largest = _LARGEST[spec.dtype]
    near = np.clip(numbers, -largest, largest).astype(np.float32)
    if spec.dtype != "bfloat16":
        return near.astype(stored_dtype(spec))
    bits = near.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to nearest, ties to even

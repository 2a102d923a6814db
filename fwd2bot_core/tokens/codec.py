"""How k x d numbers become the bytes of a row and come back: exactly, or rounded to fewer bits.

    exact   the model's own bits                                              the default
    int8    8 bits a number and a float32 step a token                        0.5 of bfloat16, and 4 bytes a token
    bits4   4 bits a number, step included, however the numbers are spread    0.25 of bfloat16
    bits3   3 bits                                                            0.1875
    bits2   2 bits                                                            0.125

A codec never changes: its name, which each shard says, stands for its bytes. All of them decode into the same
space, the model's own dtype, so a collection may change its codec at any time. Knows nothing about files.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.byte_rows import byte_rows
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.numbers import checked, finite_rows, narrowed, stored_dtype, widened
from fwd2bot_core.tokens.quantise import BITS2, BITS3, BITS4, Int8


class _Lossy(Protocol):
    """What ``quantise`` offers; rows are [B, row_bytes] uint8."""

    @property
    def layout(self) -> str: ...
    @property
    def words(self) -> dict[str, int | None] | None: ...
    def row_bytes(self, k: int, d: int) -> int: ...
    def encode(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]: ...
    def decode(self, rows: npt.NDArray[np.uint8], k: int, d: int) -> npt.NDArray[np.float64]: ...
    def worst_error(self, rows: npt.NDArray[np.uint8], k: int) -> npt.NDArray[np.float64]: ...


_LOSSY: dict[str, _Lossy | None] = {
    "exact": None,
    "int8": Int8(),
    "bits4": BITS4,
    "bits3": BITS3,
    "bits2": BITS2,
}
_EXACT_LAYOUT = (
    "k*d little-endian numbers of dtype, row-major [k, d]; "
    "numpy.frombuffer(row, dtype).reshape(k, d), where bfloat16 is stored as its 16 bit patterns "
    "(read as uint16; as float32: (bits.astype('uint32') << 16).view('float32'))"
)


def known(name: str) -> CodecName:
    """``name`` as that of a codec; raises ``IntegrityError`` for one that this version cannot decode."""
    for one in NAMES:
        if one == name:
            return one
    raise IntegrityError(
        f"codec {name!r} is unknown to this version of Fwd2Bot, which has {', '.join(NAMES)}"
    )


def row_bytes(spec: CompressorSpec, codec: CodecName) -> int:
    """Bytes of one image's k x d summary tokens; it does not depend on the image."""
    lossy = _LOSSY[codec]
    return lossy.row_bytes(spec.k, spec.d) if lossy else spec.token_bytes


def layout(codec: CodecName) -> dict[str, str]:
    """What a stranger needs to decode a row: words for ``fwd2bot.layout`` and, if there is one, the prefix code."""
    lossy = _LOSSY[codec]
    if lossy is None:
        return {"layout": _EXACT_LAYOUT}
    return {"layout": lossy.layout} | ({"code": json.dumps(lossy.words)} if lossy.words else {})


def encode(tokens: npt.NDArray[Any], spec: CompressorSpec, codec: CodecName = "exact") -> Any:
    """[B, k, d] as a fixed-size-binary Arrow array of B rows; ``exact`` shares memory where tokens are contiguous.

    Raises ``CompressorMismatch`` for another shape or dtype than the compressor's, ``ValueError`` where a codec
    that rounds meets NaN or infinity.
    """
    data = np.ascontiguousarray(checked(tokens, spec))
    lossy = _LOSSY[codec]
    if lossy:
        if not finite_rows(data, spec).all():
            raise ValueError(f"{codec} cannot hold tokens that are not finite")
        data = lossy.encode(widened(data, spec))
    buffer = pa.py_buffer(data.reshape(-1).view(np.uint8))
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(row_bytes(spec, codec)), len(tokens), [None, buffer]
    )


def decode(array: Any, spec: CompressorSpec, codec: CodecName = "exact") -> npt.NDArray[Any]:
    """The [B, k, d] numbers of a fixed-size-binary Arrow array, in the model's own dtype, always finite unless exact.

    ``exact`` gives a read-only view of the array's memory. Raises ``IntegrityError`` for nulls, another width, or
    bytes that no encoder wrote.
    """
    rows, lossy = byte_rows(array, row_bytes(spec, codec)), _LOSSY[codec]
    if lossy:
        return narrowed(lossy.decode(rows, spec.k, spec.d), spec)
    return rows.view(stored_dtype(spec)).reshape(len(rows), spec.k, spec.d)


def as_stored(tokens: npt.NDArray[Any], spec: CompressorSpec, codec: CodecName) -> npt.NDArray[Any]:
    """``tokens`` [B, k, d] as they come back: what must be judged when a codec rounds."""
    return decode(encode(tokens, spec, codec), spec, codec)


def worst_error(array: Any, spec: CompressorSpec, codec: CodecName) -> npt.NDArray[np.float64]:
    """[B]: how far at most a number of each row is from what was encoded, before it is rounded to the dtype.

    Half a step, which the row says. For int8 a step is the token's largest number / 127. For the others it depends
    on how the numbers are spread; normally distributed ones with standard deviation s get steps of 0.27 s (bits4),
    0.55 s (bits3) and 1.2 s (bits2). A row too short for its numbers decodes to zeros, so no error is ever larger
    than 1.01 times the largest number.
    """
    rows, lossy = byte_rows(array, row_bytes(spec, codec)), _LOSSY[codec]
    return lossy.worst_error(rows, spec.k) if lossy else np.zeros(len(rows))

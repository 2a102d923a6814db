from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import CompressorMismatch, IntegrityError
from fwd2bot_core.tokens.codec import decode_row, finite_rows, from_arrow, stored_dtype, to_arrow


def spec_of(k: int, d: int, dtype: str) -> CompressorSpec:
    return CompressorSpec(name="t", fingerprint="ab" * 32, k=k, d=d, dtype=dtype, prompt="", preprocessing={})


@st.composite
def stored(draw: st.DrawFn) -> tuple[CompressorSpec, np.ndarray[Any, Any]]:
    """Any bit patterns at all: NaN with payloads, infinities, subnormals, negative zero."""
    spec = spec_of(
        draw(st.integers(1, 5)),
        draw(st.integers(1, 9)),
        draw(st.sampled_from(["float32", "float16", "bfloat16"])),
    )
    shape = (draw(st.integers(0, 4)), spec.k, spec.d)
    bits = draw(hnp.arrays(np.dtype(f"<u{spec.itemsize}"), shape))
    return spec, bits.view(stored_dtype(spec))


@given(stored())
def test_what_comes_back_is_what_went_in_bit_by_bit(
    case: tuple[CompressorSpec, np.ndarray[Any, Any]],
) -> None:
    spec, tokens = case
    array = to_arrow(tokens, spec)
    array.validate(full=True)
    back = from_arrow(array, spec)
    assert (back.shape, back.dtype, back.tobytes()) == (tokens.shape, tokens.dtype, tokens.tobytes())
    rows = array.to_pylist()
    assert b"".join(rows) == tokens.tobytes()
    for row, token in zip(rows, tokens, strict=True):
        assert decode_row(row, spec).tobytes() == token.tobytes()
        assert decode_row(memoryview(row), spec).shape == (spec.k, spec.d)


@given(stored())
def test_a_row_is_finite_when_each_of_its_numbers_is(
    case: tuple[CompressorSpec, np.ndarray[Any, Any]],
) -> None:
    spec, tokens = case
    numbers = (tokens.astype(np.uint32) << 16).view(np.float32) if spec.dtype == "bfloat16" else tokens
    expected = [all(np.isfinite(x) for x in row.reshape(-1).tolist()) for row in numbers]
    found = finite_rows(tokens, spec)
    assert found.dtype == np.bool_
    assert found.tolist() == expected


@pytest.mark.parametrize("bits", [0x7F80, 0xFF80, 0x7FC0, 0xFFFF, 0x7F81])
def test_bfloat16_infinity_and_nan_are_seen_in_their_bits(bits: int) -> None:
    tokens = np.zeros((3, 2, 2), np.uint16)
    tokens[0, 0, 0], tokens[1, 1, 1], tokens[2, 0, 0] = 0x7F7F, bits, 0x8000
    assert finite_rows(tokens, spec_of(2, 2, "bfloat16")).tolist() == [True, False, True]


def test_contiguous_tokens_are_not_copied() -> None:
    spec = spec_of(2, 3, "float32")
    tokens = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    array = to_arrow(tokens, spec)
    assert array.buffers()[1].address == tokens.ctypes.data
    assert from_arrow(array, spec).ctypes.data == tokens.ctypes.data


def test_a_slice_is_read_from_its_own_offset() -> None:
    spec = spec_of(1, 2, "float16")
    tokens = np.arange(20, dtype=np.float16).reshape(10, 1, 2)
    assert from_arrow(to_arrow(tokens, spec).slice(3, 2), spec).tolist() == tokens[3:5].tolist()
    assert from_arrow(to_arrow(tokens[::2], spec), spec).tolist() == tokens[::2].tolist()


def test_big_endian_numbers_are_stored_little_endian() -> None:
    spec = spec_of(1, 1, "float32")
    assert to_arrow(np.array([[[1.0]]], ">f4"), spec).to_pylist() == [b"\x00\x00\x80\x3f"]


@pytest.mark.parametrize(
    "tokens",
    [
        np.zeros((1, 2, 4), np.float16),
        np.zeros((1, 2, 3), np.float32),
        np.zeros((1, 2, 3), np.uint16),
        np.zeros((2, 3), np.float16),
        np.zeros((1, 6), np.float16),
    ],
)
def test_another_shape_or_dtype_is_refused(tokens: np.ndarray[Any, Any]) -> None:
    with pytest.raises(CompressorMismatch, match=r"makes \[B, 2, 3\] float16"):
        to_arrow(tokens, spec_of(2, 3, "float16"))


@given(st.binary(max_size=30))
def test_a_row_of_another_length_is_refused(data: bytes) -> None:
    spec = spec_of(2, 3, "float16")
    if len(data) != 12:
        with pytest.raises(IntegrityError, match=f"{len(data)} bytes are not 2 x 3 numbers of float16"):
            decode_row(data, spec)


def test_an_arrow_column_that_is_not_ours_is_refused() -> None:
    spec = spec_of(1, 1, "float32")
    for column in (
        pa.array([b"1234"], pa.binary()),
        pa.array([b"12"], pa.binary(2)),
        pa.nulls(1, pa.binary(4)),
    ):
        with pytest.raises(IntegrityError, match="4 bytes in each row"):
            from_arrow(column, spec)

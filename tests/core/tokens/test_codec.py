from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import CompressorMismatch, IntegrityError
from fwd2bot_core.tokens.codec import as_stored, decode, encode, known, layout, row_bytes, worst_error
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.numbers import finite_rows, narrowed, stored_dtype, widened
from tests.core.tokens.arrays import DTYPES, Case, any_bits, codec_spec, finite

LOSSY = NAMES[1:]
codecs = st.sampled_from(NAMES)
lossy = st.sampled_from(LOSSY)


def normal(spec: CompressorSpec, rows: int = 8) -> np.ndarray[Any, Any]:
    return narrowed(np.random.default_rng(3).standard_normal((rows, spec.k, spec.d)), spec)


@given(any_bits())
def test_exact_gives_back_what_went_in_bit_by_bit(case: Case) -> None:
    spec, tokens = case
    array = encode(tokens, spec)
    array.validate(full=True)
    back = decode(array, spec)
    assert (back.shape, back.dtype, back.tobytes()) == (tokens.shape, tokens.dtype, tokens.tobytes())
    assert b"".join(array.to_pylist()) == tokens.tobytes()
    assert worst_error(array, spec, "exact").tolist() == [0] * len(tokens)


@given(lossy, finite())
@settings(deadline=None)
def test_what_comes_back_is_within_the_stated_bound(codec: CodecName, case: Case) -> None:
    spec, tokens = case
    array = encode(tokens, spec, codec)
    array.validate(full=True)
    assert array.type == pa.binary(row_bytes(spec, codec))
    back = decode(array, spec, codec)
    assert (back.shape, back.dtype) == (tokens.shape, stored_dtype(spec))
    assert finite_rows(back, spec).all()
    was, now = (widened(numbers, spec).astype(np.float64) for numbers in (tokens, back))
    bound = worst_error(array, spec, codec)
    assert (bound <= 1.01 * np.abs(was).max(axis=(1, 2)) + 1e-40).all()
    last_bit = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[spec.dtype]
    least = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}[spec.dtype]
    rounded = np.abs(now) * last_bit + least
    assert (np.abs(was - now) <= bound[:, None, None] + rounded).all()


@given(codecs, finite())
@settings(deadline=None)
def test_rows_do_not_depend_on_their_neighbours(codec: CodecName, case: Case) -> None:
    spec, tokens = case
    together = encode(tokens, spec, codec).to_pylist()
    assert together == [encode(tokens[i : i + 1], spec, codec)[0].as_py() for i in range(len(tokens))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("codec", "error"), [("int8", 7e-5), ("bits4", 0.0065), ("bits3", 0.028), ("bits2", 0.125)]
)
def test_normal_numbers_lose_no_more_than_the_rate_allows(codec: CodecName, error: float, dtype: str) -> None:
    """Mean squared error over variance; 4, 3 and 2 bits of Lloyd-Max levels, without their scales, lose 0.0095,
    0.0345 and 0.117."""
    spec = codec_spec(16, 256, dtype)
    tokens = normal(spec, 2)
    was, now = widened(tokens, spec), widened(as_stored(tokens, spec, codec), spec)
    assert ((was - now) ** 2).mean() / (was**2).mean() < error


@pytest.mark.parametrize("codec", LOSSY)
def test_one_huge_number_does_not_drown_its_neighbours(codec: CodecName) -> None:
    spec = codec_spec(8, 512, "float32")
    tokens = normal(spec)
    tokens[:, 3, 7] = 100.0  # a channel that stands out, as language models have them
    now = as_stored(tokens, spec, codec)
    others = np.delete(now - tokens, 3, axis=1)
    allowed = {"int8": 1e-3, "bits4": 0.0065, "bits3": 0.028, "bits2": 0.125}[codec]
    assert (others**2).mean() < allowed
    assert np.abs(now[:, 3, 7] - 100).max() < 1


def test_bytes_of_a_row_follow_from_its_shape() -> None:
    spec = codec_spec(8, 128, "bfloat16")
    exact = row_bytes(spec, "exact")
    assert exact == 8 * 128 * 2
    assert {name: row_bytes(spec, name) / exact for name in NAMES} == {
        "exact": 1, "int8": 0.515625, "bits4": 0.25, "bits3": 0.1875, "bits2": 0.125,
    }  # fmt: skip
    assert row_bytes(codec_spec(1, 1, "float16"), "bits2") == 3  # a step needs its two bytes


GOLDEN = {  # the bytes of a row, and the first eight numbers that they hold
    "int8": (
        "d66a353faf97673df50001fa0003fe0007ff00f70002fc0004fe00090001f90002fd0006ff000b0001810003fd0007ff0489ff13"
        "c50032e80169fa079eff1ad20040ef027ffc0bb00023dd0050f50481fe11c0002ee60162",
        [-7.79527568817, 0.0, 0.70866142619, -4.25196838379, 0.0, 2.12598419189, -1.41732287407, 0.0],
    ),
    "bits4": (
        "8d97e052208c034148a2360584c511d05fffff68218c038148823606826288e82b10c611c0a4411b",
        [-7.078125, 0.0, 1.1796875, -3.5390625, 0.0, 2.359375, -1.1796875, 0.0],
    ),
    "bits3": (
        "8e23e052260a0903052260e87ffffdd2260e0244c148903a148983809130",
        [-7.640625, 0.0, 0.0, -5.09375, 0.0, 2.546875, -2.546875, 0.0],
    ),
    "bits2": (
        "8ea3883113188318fffffb8311318898c418898c",
        [-5.09375, 0.0, 0.0, -5.09375, 0.0, 0.0, 0.0, 0.0],
    ),
}


@pytest.mark.parametrize("codec", LOSSY)
def test_a_codec_never_changes(codec: CodecName) -> None:
    """If this fails, archives of this codec can no longer be read: give what changed another name."""
    spec = codec_spec(2, 40, "float32")
    numbers = (np.arange(80) * 37 % 101 - 50) ** 3 / 2**14
    numbers[33] = -90
    array = encode(numbers.astype(np.float32).reshape(1, 2, 40), spec, codec)
    written, first = GOLDEN[codec]
    assert array[0].as_py().hex() == written
    assert decode(array, spec, codec)[0, 0, :8].tolist() == pytest.approx(first, rel=1e-7)


def check_damaged(array: Any, spec: CompressorSpec, codec: CodecName) -> None:
    """Finite numbers, or refused; nothing else comes of damaged bytes."""
    try:
        back = decode(array, spec, codec)
    except IntegrityError:
        return
    assert finite_rows(back, spec).all()


@given(lossy, st.integers(1, 4), st.integers(1, 40), st.sampled_from(DTYPES), st.data())
def test_any_bytes_are_finite_numbers_or_refused(
    codec: CodecName, k: int, d: int, dtype: str, data: st.DataObject
) -> None:
    spec = codec_spec(k, d, dtype)
    width = row_bytes(spec, codec)
    rows = data.draw(hnp.arrays(np.uint8, (2, width)))
    array = pa.array([row.tobytes() for row in rows], pa.binary(width))
    check_damaged(array, spec, codec)


@given(lossy, st.data())
def test_a_flipped_bit_gives_finite_numbers_or_is_refused(codec: CodecName, data: st.DataObject) -> None:
    spec = codec_spec(2, 24, "bfloat16")
    row = bytearray(encode(normal(spec, 1), spec, codec)[0].as_py())
    bit = data.draw(st.integers(0, 8 * len(row) - 1))
    row[bit // 8] ^= 1 << bit % 8
    check_damaged(pa.array([bytes(row)], pa.binary(len(row))), spec, codec)


def test_contiguous_exact_tokens_are_not_copied() -> None:
    spec = codec_spec(2, 3, "float32")
    tokens = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    array = encode(tokens, spec)
    assert array.buffers()[1].address == tokens.ctypes.data
    assert decode(array, spec).ctypes.data == tokens.ctypes.data


@pytest.mark.parametrize("codec", NAMES)
def test_a_slice_is_read_from_its_own_offset(codec: CodecName) -> None:
    spec = codec_spec(1, 40, "float16")
    tokens = normal(spec, 10)
    array = encode(tokens, spec, codec)
    assert decode(array.slice(3, 2), spec, codec).tobytes() == decode(array, spec, codec)[3:5].tobytes()
    assert encode(tokens[::2], spec, codec).to_pylist() == array.to_pylist()[::2]
    assert decode(array.slice(4, 0), spec, codec).shape == (0, 1, 40)


def test_big_endian_numbers_are_stored_little_endian() -> None:
    spec = codec_spec(1, 1, "float32")
    assert encode(np.array([[[1.0]]], ">f4"), spec).to_pylist() == [b"\x00\x00\x80\x3f"]


@pytest.mark.parametrize("codec", NAMES)
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
def test_another_shape_or_dtype_is_refused(tokens: np.ndarray[Any, Any], codec: CodecName) -> None:
    with pytest.raises(CompressorMismatch, match=r"makes \[B, 2, 3\] float16"):
        encode(tokens, codec_spec(2, 3, "float16"), codec)


@pytest.mark.parametrize("codec", LOSSY)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_codec_that_rounds_refuses_what_is_not_finite(codec: CodecName, bad: float) -> None:
    tokens = np.array([[[0.0, bad]]], np.float32)
    with pytest.raises(ValueError, match="not finite"):
        encode(tokens, codec_spec(1, 2, "float32"), codec)


@pytest.mark.parametrize("codec", NAMES)
def test_an_arrow_column_that_is_not_ours_is_refused(codec: CodecName) -> None:
    spec = codec_spec(1, 8, "float32")
    width = row_bytes(spec, codec)
    for column in (
        pa.array([b"1" * width], pa.binary()),
        pa.array([b"1" * (width - 1)], pa.binary(width - 1)),
        pa.nulls(1, pa.binary(width)),
    ):
        with pytest.raises(IntegrityError, match=f"{width} bytes in each row"):
            decode(column, spec, codec)


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"'rot4' is unknown .* bits2"):
        known("rot4")


def test_each_codec_says_how_it_is_read() -> None:
    assert "numpy.frombuffer" in layout("exact")["layout"]
    assert set(layout("int8")) == {"layout"}
    assert layout("bits4")["code"].startswith('{"000": 0, "001": -1, ')

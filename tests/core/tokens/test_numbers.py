from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens.numbers import finite_rows, narrowed, stored_dtype, widened
from tests.core.tokens.arrays import DTYPES, any_bits, codec_spec


@given(any_bits())
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
    assert finite_rows(tokens, codec_spec(2, 2, "bfloat16")).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_finite_16_bit_number_survives_being_wide(dtype: str) -> None:
    spec = codec_spec(1, 1, dtype)
    bits = np.arange(1 << 16, dtype=np.uint32)
    patterns = (
        (bits << 16).view(np.float32)
        if dtype == "float32"
        else bits.astype(np.uint16).view(stored_dtype(spec))
    )
    tokens = patterns.reshape(-1, 1, 1)
    tokens = tokens[finite_rows(tokens, spec)]
    assert len(tokens) > 60_000
    assert narrowed(widened(tokens, spec).astype(np.float64), spec).tobytes() == tokens.tobytes()


@given(hnp.arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_bfloat16_is_rounded_as_torch_does(numbers: np.ndarray[Any, Any]) -> None:
    expected = torch.from_numpy(numbers).to(torch.bfloat16)
    found = narrowed(numbers.astype(np.float64), codec_spec(1, 1, "bfloat16"))
    finite = expected.isfinite().numpy()
    assert found[finite].tobytes() == expected.view(torch.uint16).numpy()[finite].tobytes()


@pytest.mark.parametrize(
    ("dtype", "largest"), [("float32", np.finfo("f4").max), ("float16", 65504), ("bfloat16", 0x7F7F)]
)
def test_what_is_too_large_becomes_the_largest(dtype: str, largest: float) -> None:
    assert narrowed(np.array([1e300]), codec_spec(1, 1, dtype)).tolist() == [largest]

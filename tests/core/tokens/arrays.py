"""Tokens for the tests of codecs: of any shape and dtype, with any bits, or finite and extreme."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens.numbers import finite_rows, narrowed, stored_dtype

DTYPES = ["float32", "float16", "bfloat16"]
Case = tuple[CompressorSpec, np.ndarray[Any, Any]]


def codec_spec(k: int, d: int, dtype: str) -> CompressorSpec:
    return CompressorSpec(name="t", fingerprint="ab" * 32, k=k, d=d, dtype=dtype, prompt="", preprocessing={})


@st.composite
def any_bits(draw: st.DrawFn) -> Case:
    """Any bit patterns at all: NaN with payloads, infinities, subnormals, negative zero."""
    spec = codec_spec(draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.sampled_from(DTYPES)))
    shape = (draw(st.integers(0, 4)), spec.k, spec.d)
    bits = draw(hnp.arrays(np.dtype(f"<u{spec.itemsize}"), shape))
    return spec, bits.view(stored_dtype(spec))


@st.composite
def finite(draw: st.DrawFn) -> Case:
    """The finite rows of any bits, or numbers spread like real ones, with an outlier at times and at any scale."""
    if draw(st.booleans()):
        spec, tokens = draw(any_bits())
        return spec, tokens[finite_rows(tokens, spec)]
    spec = codec_spec(draw(st.integers(1, 9)), draw(st.integers(1, 130)), draw(st.sampled_from(DTYPES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    numbers = random.standard_normal((draw(st.integers(1, 3)), spec.k, spec.d))
    numbers *= 10.0 ** draw(st.sampled_from([-45, -40, -20, -5, 0, 1, 4, 20, 38]))
    if draw(st.booleans()):
        numbers[-1, 0, 0] = draw(st.sampled_from([0.0, 1e3, 65504.0, -3e38, 1e-45]))
    return spec, narrowed(numbers, spec)

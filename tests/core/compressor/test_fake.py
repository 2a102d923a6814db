from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Compressor
from fwd2bot_core.errors import CompressorError, ImageRejected, RejectReason
from fwd2bot_core.tokens.codec import finite_rows, stored_dtype
from tests.core.compressor.pictures import gradient, saved

ONE = saved(gradient(), "PNG")
TWO = saved(gradient().transpose(Image.Transpose.ROTATE_180), "PNG")
DTYPES = ["float32", "float16", "bfloat16"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_have_the_shape_and_dtype_that_the_spec_promises(dtype: str) -> None:
    fake: Compressor = FakeCompressor(k=3, d=10, dtype=dtype)
    summary = fake.compress([fake.prepare(ONE), fake.prepare(TWO)])
    assert summary.tokens.shape == (2, 3, 10)
    assert summary.tokens.dtype == stored_dtype(fake.spec)
    assert summary.tokens.nbytes == 2 * fake.spec.token_bytes
    assert finite_rows(summary.tokens, fake.spec).all()
    assert summary.pooled.dtype == np.float32
    assert np.linalg.norm(summary.pooled, axis=1) == pytest.approx([1, 1], rel=1e-6)


def test_equal_pixels_give_equal_tokens_whatever_the_batch() -> None:
    one, two = FakeCompressor().prepare(ONE), FakeCompressor().prepare(TWO)
    alone, together = FakeCompressor().compress([one]), FakeCompressor().compress([two, one])
    assert (alone.tokens[0] == together.tokens[1]).all()
    assert (alone.pooled[0] == together.pooled[1]).all()
    assert (together.tokens[0] != together.tokens[1]).any()


def test_the_tokens_are_the_same_on_every_machine() -> None:
    fake = FakeCompressor(k=1, d=2)
    tokens = fake.compress([fake.prepare(saved(Image.new("RGB", (2, 2), "white"), "PNG"))]).tokens
    words = [64445, 24120]  # shake_256 of 768 bytes 0xff
    assert tokens.reshape(-1) == pytest.approx([(word - 32767.5) / 32767.5 for word in words], rel=1e-6)


def test_a_bfloat16_token_is_the_float32_one_without_its_lower_half() -> None:
    exact, short = FakeCompressor(), FakeCompressor(dtype="bfloat16")
    wide = exact.compress([exact.prepare(ONE)]).tokens
    bits = short.compress([short.prepare(ONE)]).tokens
    back = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.abs(back - wide).max() <= 2**-7


def test_an_empty_micro_batch() -> None:
    summary = FakeCompressor(k=2, d=4).compress([])
    assert (summary.tokens.shape, summary.pooled.shape) == ((0, 2, 4), (0, 4))


def test_prepare_says_what_the_file_was_and_rejects_what_is_no_picture() -> None:
    prepared = FakeCompressor().prepare(saved(gradient(40, 30), "JPEG"))
    assert (prepared.width, prepared.height, prepared.format) == (40, 30, "JPEG")
    with pytest.raises(ImageRejected) as caught:
        FakeCompressor().prepare(b"")
    assert caught.value.reason is RejectReason.EMPTY


def test_answers_depend_on_tokens_and_question_only() -> None:
    fake = FakeCompressor()
    tokens = fake.compress([fake.prepare(ONE), fake.prepare(TWO)]).tokens
    questions = [f"what is at {place} ?" for place in range(20)]
    first = [fake.answer(tokens[0], question) for question in questions]
    assert first == [FakeCompressor().answer(tokens[0].copy(), question) for question in questions]
    assert first != [fake.answer(tokens[1], question) for question in questions]
    assert len({answer.text for answer in first}) > 1
    assert all(0.5 <= answer.confidence < 1 for answer in first)


def test_texts_live_in_the_space_of_the_pooled_vectors() -> None:
    fake = FakeCompressor(d=8)
    vector = fake.embed_text("a crack")
    assert vector.shape == (8,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-6)
    assert (vector == fake.embed_text("a crack")).all()
    assert (vector != fake.embed_text("a bolt")).any()


def test_fakes_of_different_shape_have_different_fingerprints() -> None:
    specs = [FakeCompressor(k, d, dtype).spec for k in (2, 4) for d in (8, 16) for dtype in DTYPES]
    assert len({spec.fingerprint for spec in specs}) == 12
    assert FakeCompressor().spec == FakeCompressor(seconds_per_image=1).spec
    assert all(len(bytes.fromhex(spec.fingerprint)) == 32 for spec in specs)


def test_a_fake_never_releases_an_original() -> None:
    assert FakeCompressor().spec.demonstration_only


def test_an_impossible_fake_is_refused() -> None:
    with pytest.raises(CompressorError, match="float64"):
        FakeCompressor(dtype="float64")
    with pytest.raises(CompressorError, match="k=0"):
        FakeCompressor(k=0)


def test_a_slow_fake_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    fake = FakeCompressor(seconds_per_image=0.25)
    fake.compress([fake.prepare(ONE)] * 3)
    assert slept == [0.75]


def test_the_fake_needs_no_torch() -> None:
    code = "import sys, fwd2bot_core.compressor.fake; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from fwd2bot_core.errors import CompressorMismatch, DeviceMemoryFull, ImageRejected, UsageError
from tests.core.compressor import models


@pytest.fixture(scope="module")
def compressor():
    return models.compressor()


@pytest.fixture(scope="module")
def prepared(compressor):
    return [compressor.prepare(models.image(seed)) for seed in range(7)]


def test_a_picture_is_prepared_whole_and_undistorted(compressor):
    found = compressor.prepare(models.image(size=(64, 16)))
    assert (found.width, found.height, found.format) == (64, 16, "PNG")
    assert found.pixels.shape == (1, 3, 32, 32)
    assert found.pixels.dtype == np.uint8
    assert (found.pixels[0, :, :12] == 64).all()  # the ground, a quarter of 255, above ...
    assert (found.pixels[0, :, 20:] == 64).all()  # ... and below
    assert found.pixels[0, :, 12:20].std() > 10


def test_a_picture_of_one_pixel_width_is_prepared(compressor):
    assert compressor.prepare(models.image(size=(1, 3000))).pixels.shape == (1, 3, 32, 32)


def test_what_is_no_picture_is_refused_with_the_reason(compressor):
    with pytest.raises(ImageRejected, match="not_an_image"):
        compressor.prepare(b"lot 17, all fine\n")


def test_one_micro_batch_gives_the_same_bits_again(compressor, prepared):
    first, again = compressor.compress(prepared), compressor.compress(prepared)
    assert first.tokens.shape == (7, 3, 16)
    assert first.tokens.dtype == np.float32
    assert first.tokens.tobytes() == again.tokens.tobytes()
    assert first.pooled.tobytes() == again.pooled.tobytes()


def test_an_image_depends_on_its_neighbours_by_rounding_only(compressor, prepared):
    together = compressor.compress(prepared)
    for row in range(7):
        alone = compressor.compress([prepared[row]])
        np.testing.assert_allclose(alone.tokens[0], together.tokens[row], rtol=1e-4, atol=1e-5)
    backwards = compressor.compress(prepared[::-1])
    np.testing.assert_allclose(backwards.tokens[::-1], together.tokens, rtol=1e-4, atol=1e-5)
    assert np.abs(together.tokens[0] - together.tokens[1]).max() > 0.01  # and images do differ


def test_pooled_is_the_mean_token_at_length_one(compressor, prepared):
    found = compressor.compress(prepared)
    mean = found.tokens.mean(axis=1)
    assert found.pooled.dtype == np.float32
    np.testing.assert_allclose(found.pooled, mean / np.linalg.norm(mean, axis=1, keepdims=True), rtol=1e-5)


def test_a_gpu_that_cannot_hold_so_many_says_so_and_holds_nothing_of_them(compressor, prepared, monkeypatch):
    whole, kept = compressor.net.visual, []

    def full(pixels):
        kept.append(weakref.ref(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has ...")
        return whole(pixels)

    monkeypatch.setattr(compressor.net, "visual", full)
    with pytest.raises(DeviceMemoryFull, match=r"7 images at a time .*: CUDA out of memory$") as refused:
        compressor.compress(prepared)
    assert kept[0]() is None  # with the error in hand, as whoever catches it has
    assert refused.value.__cause__ is None
    assert compressor.compress(prepared[:2]).tokens.shape == (2, 3, 16)


def test_no_images_give_no_rows(compressor):
    found = compressor.compress([])
    assert found.tokens.shape == (0, 3, 16)
    assert found.pooled.shape == (0, 16)


def test_states_that_are_not_finite_are_returned_in_their_own_rows(prepared, monkeypatch):
    compressor = models.compressor()
    whole = compressor.compress(prepared[:3])
    visual = compressor.net.visual

    def overflowing(pixels: torch.Tensor) -> torch.Tensor:
        tokens = visual(pixels)
        tokens[1] = torch.inf
        return tokens

    monkeypatch.setattr(compressor.net, "visual", overflowing)
    found = compressor.compress(prepared[:3])
    assert not np.isfinite(found.tokens[1]).any()
    assert not np.isfinite(found.pooled[1]).any()
    for row in (0, 2):
        assert found.tokens[row].tobytes() == whole.tokens[row].tobytes()


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", np.uint16), ("float16", np.float16)])
def test_tokens_keep_the_bits_of_the_models_dtype(prepared, dtype, stored):
    compressor = models.compressor(replace(models.METHOD, dtype=dtype))
    found = compressor.compress(prepared[:2])
    with torch.inference_mode():
        pixels = torch.from_numpy(np.concatenate([p.pixels for p in prepared[:2]]))
        states = compressor.net.summarise(compressor.net.visual(pixels))
    assert found.tokens.dtype == stored
    assert found.tokens.tobytes() == states.contiguous().view(torch.uint8).numpy().tobytes()
    assert found.pooled.dtype == np.float32
    assert compressor.answer(found.tokens[0], "how many items ?") == compressor.answer(
        found.tokens[0].copy(), "how many items ?"
    )


def test_an_answer_needs_the_tokens_only_and_comes_out_the_same_again(compressor, prepared):
    tokens = compressor.compress(prepared).tokens
    stored = np.frombuffer(tokens[2].tobytes(), np.float32).reshape(3, 16)  # read-only, as from a shard
    answer = compressor.answer(stored, "What is in the top left?")
    assert answer == compressor.answer(tokens[2], "what is in the top left ?")
    assert 0 < answer.confidence <= 1
    assert answer.seconds > 0


def test_questions_of_many_lengths_are_answered_each_for_itself(compressor, prepared):
    tokens = compressor.compress(prepared).tokens
    asked = ["describe .", "how many items ?", "is there a bag ?", "where is the boot ?", "describe ."]
    together = compressor.answers(tokens[:5], asked)
    alone = [compressor.answer(row, question) for row, question in zip(tokens[:5], asked, strict=True)]
    assert [a.text for a in together] == [a.text for a in alone]
    np.testing.assert_allclose([a.confidence for a in together], [a.confidence for a in alone], rtol=1e-4)


def test_an_answer_ends_at_its_end_and_is_no_longer_than_allowed(compressor):
    assert compressor._worded([9, 2, 9, 9], [0.5, 0.1, 0.9, 0.9], 0.0).confidence == pytest.approx(0.5)
    assert compressor._worded([2, 9], [0.25, 0.9], 0.0).text == ""
    assert compressor._worded([2, 9], [0.25, 0.9], 0.0).confidence == pytest.approx(0.25)
    tokens = np.zeros((3, 16), np.float32)
    assert len(compressor.answer(tokens, "describe .").text.split()) <= 6


def test_the_unadapted_model_answers_from_the_image_itself(prepared):
    compressor = models.compressor()
    before = compressor.answers_from_images(prepared[:2], ["describe ."] * 2)
    with torch.no_grad():
        for parameter in compressor.net.own_parameters().values():
            parameter.zero_()
    assert compressor.answers_from_images(prepared[:2], ["describe ."] * 2) == before


def test_texts_lie_in_the_space_of_images(compressor):
    vector = compressor.embed_text("top left bag")
    assert vector.shape == (16,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert not np.allclose(vector, compressor.embed_text("top left boot"))


@pytest.mark.parametrize("tokens", [np.zeros((4, 16), np.float32), np.zeros((3, 16), np.float16)])
def test_tokens_of_another_compressor_are_refused(compressor, tokens):
    with pytest.raises(CompressorMismatch, match=r"tiny \(000000000000\), whose are float32 of \(3, 16\)"):
        compressor.answer(tokens, "describe .")


@pytest.mark.parametrize("text", ["", "  ", "bag " * 65])
def test_texts_that_cannot_be_read_are_the_askers_fault(compressor, text):
    with pytest.raises(UsageError, match=r"empty|65 tokens long"):
        compressor.embed_text(text)
    with pytest.raises(UsageError, match=r"empty|65 tokens long"):
        compressor.answer(np.zeros((3, 16), np.float32), text)

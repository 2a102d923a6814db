"""One life of a compressor in each family: opened, looked through, trained a step, saved, loaded, asked."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image

from fwd2bot_core.compressor import bundle, losses, lvlm
from fwd2bot_core.compressor.double_forward import DoubleForward, pool, script
from fwd2bot_core.compressor.families import trial
from fwd2bot_core.compressor.families.eyes import Eye, eye
from fwd2bot_core.compressor.families.opening import Opened, open_model
from fwd2bot_core.compressor.families.visual import Visual, span, tokens_of
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.view import View
from tests.core.compressor import models
from tests.core.compressor.families import tiny

FAMILIES = list(tiny.CONFIGS)
DYNAMIC = ["llava_onevision", "qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm", "internvl"]
BESIDES = ["qwen2_5_vl", "qwen3_vl", "paligemma", "paligemma2", "gemma3"]  # need more than tokens
WIDE, HIGH = (60, 40), (24, 56)


@dataclass(frozen=True)
class Made:
    opened: Opened
    method: Method
    net: DoubleForward
    eye: Eye

    def pixels(self, size: tuple[int, int] = WIDE, count: int = 2) -> Any:
        """A batch of different pictures of one size."""
        files = (models.image(seed, size) for seed in range(count))
        return self.eye.stack([self.eye.see(Image.open(io.BytesIO(f)).convert("RGB")) for f in files])

    def compressor(self) -> Fwd2BotCompressor:
        return Fwd2BotCompressor(self.net, self.opened.tokenizer, self.method, "0" * 64)


def make(folder: Path, family: str, *, shaken: bool = True, dtype: torch.dtype = torch.float32) -> Made:
    opened = open_model(tiny.save(folder / family, family, dtype=dtype))
    method = opened.method(name=family, k=4, rank=2, alpha=4.0, merged=False, max_new_tokens=5)
    net = opened.net(method)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.own_parameters().values() if shaken else ():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))
    return Made(opened, method, net, eye(method, opened.tokenizer))


@pytest.fixture(scope="module")
def made(request, tmp_path_factory):
    """Read-only for the tests."""
    return make(tmp_path_factory.mktemp("model"), request.param)


every_family = pytest.mark.parametrize("made", FAMILIES, indirect=True)


def own_inputs(made: Made, size: tuple[int, int], after: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    stacked = made.pixels(size)
    image = made.net.visual(stacked)
    plain = made.net.normalised(stacked) if isinstance(stacked, torch.Tensor) else stacked
    before = made.net.before.tolist()
    return image, trial.inputs(made.opened.model, plain, image, before, after)


@every_family
@pytest.mark.parametrize("size", [WIDE, HIGH])
def test_the_base_stage_is_the_plain_model(made, size):
    """The same images and ids give the logits and the greedy answer that transformers gives itself."""
    after = script(made.opened.tokenizer, made.method).after
    ids = torch.tensor([after, after])
    with torch.no_grad():
        image, given = own_inputs(made, size, after)
        expected = made.opened.model(**given).logits[:, -len(after) :]
        found = made.net.lvlm.logits(made.net.read(Stage.BASE, image, ids))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        said, _ = made.net.greedy(Stage.BASE, image, ids, 5)
        free = made.opened.model.generate(
            **given, max_new_tokens=said.shape[1], do_sample=False, eos_token_id=-1
        )
    eos = made.net.lvlm.eos
    for ours, theirs in zip(said.tolist(), free[:, given["input_ids"].shape[1] :].tolist(), strict=True):
        length = next((i for i, token in enumerate(ours) if token in eos), len(ours) - 1) + 1
        assert ours[:length] == theirs[:length]


@pytest.mark.parametrize("made", BESIDES, indirect=True)
def test_what_a_family_needs_beside_its_tokens_is_not_left_out(made):
    """Without it the states would be others, so that the test above can fail."""
    ids = torch.tensor([script(made.opened.tokenizer, made.method).after] * 2)
    with torch.no_grad():
        image = made.net.visual(made.pixels())
        whole = made.net.read(Stage.ANSWER, image, ids)
        bare = made.net.read(Stage.ANSWER, tokens_of(image), ids)
    assert isinstance(image, Visual)
    assert (whole - bare).abs().max() > 0.01


@pytest.mark.parametrize("made", ["qwen3_vl"], indirect=True)
def test_deep_features_are_of_their_own_rows(made):
    with torch.no_grad():
        image = made.net.visual(made.pixels())
        together = made.net.summarise(image)
        torch.testing.assert_close(made.net.summarise(image[[1]]), together[1:], rtol=1e-4, atol=1e-4)
    assert len(image.deep) == 2
    assert span(image) == 8  # positions: the longer side of 5 x 8 tokens


@every_family
def test_a_shorter_summary_is_the_beginning_of_the_longer(made):
    ids = torch.tensor([[1, 40, 41, 42]])
    with torch.no_grad():
        image = made.net.visual(made.pixels())
        whole, text = made.net.summarise(image), made.net.summarise_text(ids)
        for k in (1, 3):
            torch.testing.assert_close(made.net.summarise(image, k), whole[:, :k], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(made.net.summarise_text(ids, k=k), text[:, :k], rtol=1e-4, atol=1e-5)
    assert (whole[:, 0] - whole[:, 1]).abs().max() > 0.01


def loss_of(made: Made, ids: torch.Tensor) -> torch.Tensor:
    """Both losses through the bottleneck."""
    states = made.net.summarise(made.net.visual(made.pixels()))
    told = made.net.summarise_text(ids)
    said = made.net.lvlm.logits(made.net.lvlm.hidden(Stage.ANSWER, made.net.question(states, ids)))
    answers = losses.autoregressive(said[:, -len(ids[0]) : -1], ids[:, 1:])
    return answers + losses.contrastive(
        pool(states), pool(told), temperature=0.1, captions=torch.tensor([0, 1])
    )


IDS = torch.tensor([[40, 41, 42, 43], [44, 45, 46, 2]])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_life(tmp_path, family):
    made = make(tmp_path, family, shaken=False)
    net = made.net.requires_grad_(False)
    own = net.own_parameters()
    for parameter in own.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD(own.values(), lr=0.05)
    first = loss_of(made, IDS)
    for _ in range(2):  # the second one moves what the first could not: B is zero before it
        optimizer.zero_grad()
        loss_of(made, IDS).backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in own.values())
    assert all(p.grad is None for p in net.lvlm.base.parameters())
    assert loss_of(made, IDS) < first

    printed = bundle.save_bundle(tmp_path / "bundle", net, made.opened.tokenizer, made.method)
    loaded = bundle.load_bundle(tmp_path / "bundle")
    source = made.compressor()
    photos = [source.prepare(models.image(seed, size)) for seed, size in enumerate((WIDE, HIGH, WIDE))]
    found, expected = loaded.compress(photos), source.compress(photos)
    assert loaded.spec.fingerprint == printed
    assert (loaded.spec.k, loaded.spec.d, loaded.spec.dtype) == (4, 32, "float32")
    assert found.tokens.tobytes() == expected.tokens.tobytes()
    assert found.pooled.tobytes() == expected.pooled.tobytes()
    assert np.isfinite(found.tokens).all()
    asked = "How many items?"
    said, wanted = loaded.answer(found.tokens[0], asked), source.answer(expected.tokens[0], asked)
    assert said.text == wanted.text
    assert said.confidence == pytest.approx(
        wanted.confidence, rel=1e-5
    )  # a processor may add in another order
    np.testing.assert_allclose(loaded.embed_text("bag"), source.embed_text("bag"), atol=1e-6)


@every_family
def test_images_of_many_sizes_are_batched_by_size_and_none_is_padded(made):
    compressor = made.compressor()
    photos = [
        compressor.prepare(models.image(i, size)) for i, size in enumerate((WIDE, HIGH, WIDE, (32, 32), HIGH))
    ]
    together = compressor.compress(photos)
    for row, photo in enumerate(photos):
        alone = compressor.compress([photo])
        np.testing.assert_allclose(alone.tokens[0], together.tokens[row], rtol=1e-3, atol=1e-4)
    questions = ["how many items?", "describe.", "describe.", "how many items?", "describe."]
    whole = compressor.answers_from_images(photos, questions)
    for row, photo in enumerate(photos):
        assert compressor.answers_from_images([photo], [questions[row]])[0].text == whole[row].text


@pytest.mark.parametrize("made", DYNAMIC, indirect=True)
def test_a_picture_of_another_shape_has_another_number_of_tokens(made):
    with torch.no_grad():
        counts = [tokens_of(made.net.visual(made.pixels(size))).shape[1] for size in ((64, 24), (64, 64))]
    assert counts[0] < counts[1]


@every_family
def test_fidelity_compares_any_family(made):
    """The words that the image's side says are those that it says alone."""
    compressor = made.compressor()
    photos = [compressor.prepare(models.image(i, size)) for i, size in enumerate((WIDE, HIGH))]
    tokens = compressor.compress(photos).tokens
    questions = ["how many items?", "describe."]
    rows = compressor.compare(tokens, photos, questions)
    for photo, row in zip(photos, rows, strict=True):
        said = compressor.answers_from_images([photo, photo], questions)
        assert [finding.answer for finding in row] == [answer.text for answer in said]


@every_family
def test_tiles_of_a_view_are_seen_one_by_one(made):
    view = View(tiles=(2, 1))
    compressor = made.compressor().at(view)
    photo = compressor.prepare(models.image(0, WIDE))
    found = compressor.compress([photo])
    assert found.tokens.shape == (1, 3 * 4, 32)
    thumbnail = made.compressor().compress([made.compressor().prepare(models.image(0, WIDE))])
    np.testing.assert_allclose(found.tokens[0, :4], thumbnail.tokens[0], rtol=1e-3, atol=1e-4)
    assert compressor.answers_from_images([photo], ["describe."])[0].confidence > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_views_say_the_same(tmp_path, family):
    made = make(tmp_path, family)
    with torch.no_grad():
        image = made.net.visual(made.pixels())
        ids = torch.tensor([[40, 41]] * 2)
        tokens = made.net.summarise(image)
        states = made.net.read(Stage.ANSWER, tokens, ids)
        made.net.merge()
        torch.testing.assert_close(made.net.summarise(image), tokens, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(made.net.read(Stage.ANSWER, tokens, ids), states, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", ["qwen3_vl", "gemma3", "smolvlm"])
def test_gradients_are_the_same_under_checkpointing(tmp_path, family):
    made = make(tmp_path, family)
    net = made.net.requires_grad_(False)
    own = net.own_parameters()
    for parameter in own.values():
        parameter.requires_grad_(True)
    loss_of(made, IDS).backward()
    expected = {name: p.grad.clone() for name, p in own.items()}
    reruns: list[str] = []
    net.train()
    for stage, view in net.lvlm.views.items():
        view.activation_checkpointing_enable()
        view.layers[0].mlp.register_forward_pre_hook(lambda *_, stage=stage: reruns.append(stage))
    net.zero_grad()
    loss_of(made, IDS).backward()
    assert (
        sorted(reruns) == ["answer"] * 2 + ["compress"] * 4
    )  # images and captions, and again in the backward pass
    for name, gradient in expected.items():
        assert gradient.abs().sum() > 0, name
        torch.testing.assert_close(own[name].grad, gradient, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "gemma3"])
def test_the_dtype_is_the_models(tmp_path, family):
    made = make(tmp_path, family, dtype=torch.bfloat16)
    assert made.method.dtype == "bfloat16"
    bundle.save_bundle(tmp_path / "bundle", made.net, made.opened.tokenizer, made.method)
    loaded, source = bundle.load_bundle(tmp_path / "bundle"), made.compressor()
    photos = [source.prepare(models.image(seed, WIDE)) for seed in range(2)]
    assert loaded.compress(photos).tokens.dtype == np.uint16
    assert loaded.compress(photos).tokens.tobytes() == source.compress(photos).tokens.tobytes()


@pytest.mark.parametrize("family", ["qwen3_vl", "gemma3"])
def test_tied_weights_are_stored_once(tmp_path, family):
    made = make(tmp_path, family)
    made.opened.model.config.tie_word_embeddings = True
    made.opened.model.tie_weights()
    bundle.save_bundle(tmp_path / "bundle", made.net, made.opened.tokenizer, made.method)
    with safetensors.safe_open(tmp_path / "bundle" / bundle.WEIGHTS, "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118 - no mapping
    base = bundle.load_bundle(tmp_path / "bundle").net.lvlm.base
    assert base.lm_head.weight is base.get_input_embeddings().weight


@every_family
def test_the_last_layer_runs_at_the_summary_alone(made, monkeypatch):
    image, seen = made.net.visual(made.pixels()), []
    view = made.net.lvlm.views[Stage.COMPRESS.value]
    counting = view.layers[-1].mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-2]))
    with torch.inference_mode():
        found = made.net.summarise(image)
        monkeypatch.setattr(lvlm, "only_last", lambda *_, **__: nullcontext())
        whole = made.net.summarise(image)
    counting.remove()
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)
    assert seen[0] == made.method.k < seen[1]

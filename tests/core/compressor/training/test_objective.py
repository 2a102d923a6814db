from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fwd2bot_core.compressor import losses
from fwd2bot_core.compressor.double_forward import pool
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.training import start
from fwd2bot_core.compressor.training.objective import Heat, Objective, Weights
from tests.core.compressor.training import worlds

BOTH = Weights()


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return worlds.items(tmp_path_factory.mktemp("data"), negatives=["bottom left boot", "top left bag"])


@pytest.fixture
def made():
    return worlds.compressor()


def stepped(made, chunks, weights=BOTH, *, learn_heat=True, **options):
    """Values and gradients of one step."""
    for p in made.net.own_parameters().values():
        p.grad = None
        p.requires_grad_(True)
    heat = Heat(0.2).requires_grad_(learn_heat)
    values = Objective(made.net, heat, lengths=(3, 1), weights=weights, **options).step(chunks)
    found = {name: float(value) for name, value in values.items()}
    return found, worlds.gradients(made) | {"heat": heat.log.grad}


def close(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6, msg=name)


def by_hand(made, chunk):
    """Both losses as one would write them down, in one graph over the whole batch."""
    net = made.net
    for p in net.own_parameters().values():
        p.requires_grad_(True)
    states = net.summarise(net.visual(chunk.looks[0]))[chunk.order]
    each = []
    for q in range(len(chunk.owners)):
        tokens = states[chunk.owners[q], : chunk.lengths[q]][None]
        hidden = net.lvlm.hidden(Stage.ANSWER, net.question(tokens, chunk.asked.ids[q][None]))
        said = net.lvlm.logits(hidden[:, -chunk.asked.ids.shape[1] :])
        each.append(losses.autoregressive(said, chunk.asked.labels[q][None]))
    texts = net.summarise_text(chunk.captions.ids, chunk.captions.mask)
    false = net.summarise_text(chunk.negatives.ids, chunk.negatives.mask)
    contrast = [
        losses.contrastive(
            pool(states[chunk.captioned, :k]),
            pool(texts[:, :k]),
            temperature=0.2,
            captions=chunk.captions.numbers,
            negatives=pool(false[:, :k]),
            negative_captions=chunk.negatives.numbers,
        )
        for k in (3, 1)
    ]
    return torch.stack(each).mean(), torch.stack(contrast).mean()


def test_a_step_has_the_losses_and_gradients_of_the_formulas(made, items):
    (chunk,) = worlds.chunks(made, items)
    assert sorted(set(chunk.lengths.tolist())) == [1, 3]
    answers, contrast = by_hand(made, chunk)
    (answers + 0.5 * contrast).backward()
    expected = worlds.gradients(made)
    found, grads = stepped(made, [chunk], Weights(1.0, 0.5))
    assert found == pytest.approx({"answers": answers.item(), "contrast": contrast.item()}, rel=1e-5)
    del grads["heat"]
    close(grads, expected)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_chunks_give_the_gradients_of_the_whole_batch(made, items, size):
    """GradCache: for both stages' pairs, the summary tokens and the temperature."""
    whole, expected = stepped(made, worlds.chunks(made, items))
    found, grads = stepped(made, worlds.chunks(made, items, size))
    assert found == pytest.approx(whole, rel=1e-5)
    close(grads, expected)
    assert expected["heat"].abs() > 0


@pytest.mark.parametrize("size", [0, 2])
def test_checkpointed_gradients_are_the_plain_ones_and_both_stages_get_them(made, items, size):
    _, expected = stepped(made, worlds.chunks(made, items, size))
    start.checkpoint_gradients(made.net)
    runs = []
    made.net.lvlm.views["compress"].layers[0].self_attn.register_forward_hook(
        lambda *_: runs.append(torch.is_grad_enabled())
    )
    _, grads = stepped(made, worlds.chunks(made, items, size))
    close(grads, expected)
    passes = 3 if not size else 9  # over images, captions and false captions, of each chunk
    assert runs.count(True) == 2 * passes  # once more in the backward pass
    assert runs.count(False) == (0 if not size else passes)
    for stage in ("compress", "answer"):
        own = [grad for name, grad in grads.items() if name.startswith(stage)]
        assert len(own) == 28
        assert all(grad.abs().sum() > 0 for grad in own)
    assert (grads["summary_tokens"].abs().sum(dim=1) > 0).all()


def test_each_loss_alone_trains_what_it_can_reach(made, items):
    chunks = worlds.chunks(made, items)
    found, grads = stepped(made, chunks, Weights(0.0, 1.0))
    assert list(found) == ["contrast"]
    assert all(not grad.any() for name, grad in grads.items() if name.startswith("answer"))
    found, grads = stepped(made, chunks, Weights(1.0, 0.0))
    assert list(found) == ["answers"]
    assert grads["heat"] is None
    assert all(grad.any() for name, grad in grads.items() if name.startswith(("answer", "compress")))


def test_images_of_one_group_are_no_negatives(made, tmp_path):
    alike = worlds.chunks(made, worlds.items(tmp_path / "a", group="one part"))
    apart = worlds.chunks(made, worlds.items(tmp_path / "b"))
    assert stepped(made, alike)[0]["contrast"] == 0
    assert stepped(made, apart)[0]["contrast"] > 0


def test_images_without_captions_are_only_asked_about(made, items):
    quiet = [replace(one, captions=[], negatives=[]) for one in items]
    found, grads = stepped(made, worlds.chunks(made, quiet, 2))
    assert found["contrast"] == 0
    assert grads["summary_tokens"].any()


def test_a_temperature_that_is_not_learned_stays(made, items):
    _, grads = stepped(made, worlds.chunks(made, items), learn_heat=False)
    assert grads["heat"] is None


def test_a_projector_learns_only_when_it_is_asked_to(made, items):
    weights = start.projector(made.net)
    assert {name.split(".")[-2] for name in weights} == {"linear_1", "linear_2"}
    for p in weights.values():
        p.requires_grad_(True)
    stepped(made, worlds.chunks(made, items, 3))
    assert all(p.grad is None for p in weights.values())
    stepped(made, worlds.chunks(made, items, 3), see=True)
    assert all(p.grad.any() for p in weights.values())

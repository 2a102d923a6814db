"""Images looked at in several crops: the losses by hand, and a whole training down to a bundle that is used so."""

from __future__ import annotations

import json

import pytest
import torch

from fwd2bot_core.compressor import bundle, losses
from fwd2bot_core.compressor.double_forward import pool
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.training import config as settings
from fwd2bot_core.compressor.training.objective import Heat, Objective, Weights
from fwd2bot_core.compressor.training.train import train
from fwd2bot_core.compressor.view import View
from fwd2bot_core.errors import SettingsError
from tests.core.compressor import models
from tests.core.compressor.training import worlds

TILED = View(tiles=(2, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("world")
    worlds.write(found, 8)
    models.saved(found / "base")
    return found


def by_hand(made, chunk, view):
    """Both losses of a chunk, image by image and crop by crop."""
    net = made.net
    (look,) = chunk.looks
    states = net.summarise(net.visual(look))[chunk.order]  # [B * crops, k, d]
    crops = states.reshape(-1, view.count, 3, 16)
    each = []
    for q, owner in enumerate(chunk.owners.tolist()):
        tokens = torch.cat([crop[: chunk.lengths[q]] for crop in crops[owner]])[None]
        hidden = net.lvlm.hidden(Stage.ANSWER, net.question(tokens, chunk.asked.ids[q][None]))
        said = net.lvlm.logits(hidden[:, -chunk.asked.ids.shape[1] :])
        each.append(losses.autoregressive(said, chunk.asked.labels[q][None]))
    texts = net.summarise_text(chunk.captions.ids, chunk.captions.mask)
    shown = crops[chunk.captioned, :1] if view.thumbnail else crops[chunk.captioned]
    contrast = [
        losses.contrastive(
            pool(shown[:, :, :k].flatten(1, 2)),
            pool(texts[:, :k]),
            temperature=0.2,
            captions=chunk.captions.numbers,
        )
        for k in (3, 1)
    ]
    return torch.stack(each).mean(), torch.stack(contrast).mean()


@pytest.mark.parametrize(
    "view", [TILED, View(thumbnail=False, tiles=(1, 2))], ids=["thumbnail", "tiles alone"]
)
def test_a_step_over_crops_has_the_losses_and_gradients_of_the_formulas(folder, view):
    made = worlds.compressor().at(view)
    items = worlds.items(folder)
    (chunk,) = worlds.chunks(made, items)
    assert len(chunk.looks[0]) == 6 * view.count
    for p in made.net.own_parameters().values():
        p.requires_grad_(True)
    answers, contrast = by_hand(made, chunk, made.view)
    (answers + contrast).backward()
    expected = worlds.gradients(made)
    for size in (0, 2):
        for p in made.net.own_parameters().values():
            p.grad = None
        heat = Heat(0.2).requires_grad_(False)
        objective = Objective(made.net, heat, lengths=(3, 1), weights=Weights(), view=made.view)
        values = objective.step(worlds.chunks(made, items, size))
        assert values["answers"].item() == pytest.approx(answers.item(), rel=1e-5)
        assert values["contrast"].item() == pytest.approx(contrast.item(), rel=1e-5)
        for name, grad in worlds.gradients(made).items():
            torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


def configured(folder, **sections):
    values = {
        "base": "base",
        "name": "tiled",
        "output": str(folder / "out"),
        "data": {"train": ["data.jsonl"], "held_out": 0.25},
        "method": {"nested_k": [1]},
        "training": {"steps": 2, "batch": 2, "questions": 1, "report_every": 1},
        **sections,
    }
    return settings.parse(values, folder)


def test_a_bundle_trained_on_tiles_is_examined_and_used_with_tiles(folder):
    made = train(configured(folder, view={"tiles": [2, 1]}))
    assert made.figures["training"]["view"]["tiles"] == [2, 1]
    assert made.figures["accuracy"]["all"]["from_tokens"].keys() == {"3", "1"}
    assert json.loads((made.bundle / "evaluation.json").read_bytes())["training"]["view"]["thumbnail"] is True
    for k in (3, 1):
        used = bundle.load_bundle(made.bundle, view=View(tiles=(2, 1), k=k))
        tokens = used.compress([used.prepare(models.image(0))]).tokens[0]
        assert tokens.shape == (3 * k, 16)
        assert used.answer(tokens, "how many items ?").confidence > 0
    assert bundle.self_check(bundle.load_bundle(made.bundle)) == []  # and its own view is the whole image


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ({"k": 1}, "view: k is said in method.k"),
        ({"thumbnail": False}, "view: nothing of a photo would be seen"),
        ({"tiels": [2, 2]}, "view.tiels is no setting"),
    ],
)
def test_a_view_that_cannot_be_trained_is_refused_by_name(folder, view, says):
    with pytest.raises(SettingsError, match=says):
        configured(folder, view=view)

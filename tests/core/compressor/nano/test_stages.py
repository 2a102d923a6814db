"""What the stages learn: their losses fall when the answer is right, are finite, and move what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.nano import data, design, easy_vqa, questions, stages, trays
from fwd2bot_core.compressor.nano.faster import made_faster
from fwd2bot_core.compressor.nano.lessons import Bench, false_caption, shapes_named
from fwd2bot_core.compressor.nano.stages import FACTS

PAIRS = [("what shape does the image contain?", "circle"), ("is there a red shape?", "yes")]


@pytest.fixture(scope="module")
def bench():
    rng = np.random.default_rng(0)
    held = [trays.draw_facts(rng) for _ in range(6)]
    pixels = rng.integers(0, 256, (6, 3, design.PIXELS, design.PIXELS), dtype=np.uint8)
    tokenizer = design.tokenizer()
    net = DoubleForward(
        design.model(tokenizer.get_vocab_size(), 0), design.METHOD, script(tokenizer, design.METHOD)
    )
    pool = data.Pool(pixels, np.array([facts.cells for facts in held]))
    easy = easy_vqa.Split(pixels[:3], [PAIRS] * 3)
    return Bench(1, data.Words(tokenizer), pool, easy, net.requires_grad_(False))


def knowing(cells: np.ndarray, sure: float = 20.0) -> torch.Tensor:
    """Scores [B, 9, all facts] of somebody who knows everything."""
    scores = torch.zeros(*cells.shape[:2], sum(FACTS.values()))
    starts = dict(zip(FACTS, np.cumsum([0, *FACTS.values()]).tolist(), strict=False))
    for row, tray in enumerate(cells):
        for cell, (kind, *others) in enumerate(tray.tolist()):
            right = [starts["kind"] + kind + 2, starts["place"] + cell]
            if kind == trays.CARD:
                right += [starts["digits"] + 10 * place + digit for place, digit in enumerate(others[:3])]
            else:
                right += [
                    starts[n] + v for n, v in zip(("color", "size", "pose", "state"), others, strict=True)
                ]
            scores[row, cell, right] = sure
    return scores


def lost(scores: torch.Tensor, cells: np.ndarray) -> dict[str, float]:
    place = torch.arange(9) if cells.shape[1] == 9 else torch.from_numpy(stages._cell_of_token())
    found = stages.fact_losses(scores, torch.from_numpy(cells), place)
    return {name: value.item() for name, value in found.items()}


def test_who_knows_all_facts_loses_nothing_and_who_errs_in_one_loses_there(bench):
    cells = bench.pool.cells
    scores = knowing(cells)
    assert max(lost(scores, cells).values()) < 1e-4
    row, cell = np.argwhere(cells[..., 0] >= 0)[0]
    for column, name in enumerate(("color", "size", "pose", "state"), 1):
        other = cells.copy()
        other[row, cell, column] = (other[row, cell, column] + 1) % FACTS[name]
        wrong = {n for n, value in lost(scores, other).items() if value > 0.1}
        assert wrong == {name}
    other = cells.copy()
    card = np.argwhere(cells[..., 0] == trays.CARD)[0]
    other[card[0], card[1], 2] = (other[card[0], card[1], 2] + 1) % 10
    assert {n for n, value in lost(scores, other).items() if value > 0.1} == {"digits"}


def test_tokens_and_compartments_are_told_the_same(bench):
    of_token = stages._cell_of_token()
    assert np.bincount(of_token).tolist() == [design.VISUAL // 9] * 9
    assert of_token.reshape(12, 12)[::4, ::4].ravel().tolist() == list(range(9))
    told = torch.from_numpy(of_token).float()[None, :, None]
    assert stages._cell_means(told).ravel().tolist() == list(range(9))
    scores = knowing(bench.pool.cells)[:, of_token]
    assert max(lost(scores, bench.pool.cells[:, of_token]).values()) < 1e-4


def test_shapes_and_colours_are_learned_where_they_are_named():
    scores = torch.zeros(2, 11)
    scores[:, [1, 3]] = 20.0  # a circle, red
    red_circle = [("?", "circle"), ("?", "red"), ("?", "yes")]
    assert stages._shape_loss(scores, shapes_named([red_circle, [("?", "no")]])) < 1e-4
    assert stages._shape_loss(scores, shapes_named([red_circle, [("?", "green")]])) > 5
    assert stages._shape_loss(scores, shapes_named([[("?", "no")], []])) == 0


@pytest.mark.parametrize("number", range(4))
def test_a_step_is_the_same_again_and_moves_all_that_is_learned(bench, number):
    stage = (stages.tower, stages.base, stages.adapters, stages.refining)[number]
    torch.manual_seed(0)
    course = stage(bench, 4)
    learn, terms = course.learn, course.terms
    for parameter in learn.values():
        parameter.requires_grad_(True)
    with made_faster(bench.net):
        first, again, other = (
            {name: value.item() for name, value in terms(step).items()} for step in (3, 3, 4)
        )
        assert first == pytest.approx(again, rel=1e-4)
        assert first != pytest.approx(other, rel=1e-4)
        sum(terms(3).values()).backward()
    still = {name for name, parameter in learn.items() if parameter.grad is None}
    assert not still
    assert all(np.isfinite(value) for value in first.values())
    bench.net.requires_grad_(False)
    for parameter in learn.values():
        parameter.grad = None


def test_every_kind_of_question_has_a_loss_of_its_own(bench):
    course = stages.base(bench, 4)
    with made_faster(bench.net), torch.no_grad():
        named = course.terms(0).keys()
    assert named == {"easy", "named", *("+".join(kinds) for kinds in data.ASKED)}


def test_a_false_caption_is_always_found():
    bare = trays.Facts((trays.Held(trays.CARD), *[trays.Held(trays.EMPTY)] * 8))
    rng = np.random.default_rng(0)
    for facts in (bare, *(trays.draw_facts(rng) for _ in range(50))):
        said = questions.caption(facts, rng)
        assert not all(claim.holds(facts) for claim in false_caption(said, facts, rng))

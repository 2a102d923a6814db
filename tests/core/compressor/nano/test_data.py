from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design, fashion, questions, trays
from fwd2bot_core.compressor.nano.trays import CARD, EMPTY
from tests.core.compressor import models

PAIRS = [
    [
        ("what is in a1?", "bag"),
        ("describe a1.", "big red bag , upright , scratched"),
        ("read the lot.", "042"),
    ],
    [("is there a boot?", "no")],
]
SQUARE = design.PIXELS // 3


@pytest.fixture(scope="module")
def words():
    return data.Words(design.tokenizer())


def test_every_block_asks_one_question_and_labels_its_answer(words):
    ids, labels, weights = words.packed(PAIRS)
    assert ids.shape == labels.shape == weights.shape == (2, data.PACKED)
    for row, pairs in enumerate(PAIRS):
        for block in range(len(data.ASKED)):
            here = slice(block * data.BLOCK, (block + 1) * data.BLOCK)
            asked = np.flatnonzero(labels[row, here] != IGNORE)
            if block >= len(pairs):
                assert not len(asked)
                assert (ids[row, here] == words.pad).all()
                continue
            question, answer = (words.encode(text) for text in pairs[block])
            assert ids[row, here][: len(question)].tolist() == question
            assert labels[row, here][asked].tolist() == [*answer, words.eos]
            assert asked[0] == len(question) - 1  # the answer begins after the question's last word
            assert (ids[row, here][asked[:-1] + 1] == answer).all()  # the label is the next id
            assert weights[row, here].sum() == pytest.approx(1)
            assert ((weights[row, here] > 0) == (labels[row, here] != IGNORE)).all()


def test_no_question_of_a_tray_is_too_long_for_its_block(words):
    rng = np.random.default_rng(3)
    held = [trays.draw_facts(rng, range(10)) for _ in range(300)]
    asked = data.asked_of_trays(held, rng)
    assert {len(pairs) for pairs in asked} == {len(data.ASKED)}
    _, labels, _ = words.packed(asked)  # it refuses what does not fit
    assert ((labels == words.eos).sum(axis=1) == len(data.ASKED)).all()
    with pytest.raises(ValueError, match="longer than 12 ids"):
        words.packed([[("describe a1.", "bag " * data.BLOCK)]])


def test_every_kind_of_question_is_learned():
    assert {kind for kinds in data.ASKED for kind in kinds} == set(questions.PHRASES)


def test_some_of_many_questions_about_a_picture_are_drawn():
    many = [[(f"what {number}", "yes") for number in range(20)], [("what", "no")]]
    first, second = data.asked_of_easy(many, np.random.default_rng(0))
    assert len(set(first)) == len(data.ASKED)
    assert set(first) <= set(many[0])
    assert second == many[1]


def test_packed_questions_are_answered_as_if_each_stood_alone(words):
    """The layout's mask and positions hide every other question."""
    net = models.net()
    ids = torch.from_numpy(words.packed(PAIRS)[0])
    image = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(1))
    mask, places = data.layout(len(net.before) + 3)
    with torch.no_grad():
        packed = net.lvlm.hidden(
            Stage.ANSWER,
            net.question(image, ids),
            attention_mask=torch.from_numpy(mask)[None, None],
            position_ids=torch.from_numpy(places)[None],
        )[:, -data.PACKED :]
        for start in range(0, data.PACKED, data.BLOCK):
            here = slice(start, start + data.BLOCK)
            alone = net.lvlm.hidden(Stage.ANSWER, net.question(image, ids[:, here]))[:, -data.BLOCK :]
            torch.testing.assert_close(packed[:, here], alone, rtol=1e-4, atol=1e-5)


def test_captions_are_padded_on_the_left(words):
    rng = np.random.default_rng(0)
    said = ["nothing", "a1 red bag", "a1 red bag , b2 blue boot"]
    ids, mask = words.captions(said)
    assert mask.sum(axis=1).tolist() == [2, 4, 8]
    assert (ids[mask == 0] == words.pad).all()
    assert ids[0, -2:].tolist() == [words.bos, words.ids["nothing"]]
    longest = 0
    for _ in range(100):
        facts = trays.draw_facts(rng)
        false = questions.false_caption(questions.caption(facts, rng), facts, rng, "add")
        longest = max(longest, int(words.captions([questions.worded(false)])[1].sum()))
    assert longest == data.CAPTION  # one claim more than a true one, and nothing is cut


def painted(*kinds: list[int]) -> data.Pool:
    """Trays whose compartments are painted by what they hold."""
    cells = np.zeros((len(kinds), 9, 5), np.int64)
    cells[..., 0] = kinds
    grid = (cells[..., 0].reshape(-1, 3, 3) + 3) * 16
    pixels = np.repeat(np.repeat(grid, SQUARE, axis=1), SQUARE, axis=2)
    return data.Pool(np.repeat(pixels[:, None], 3, axis=1).astype(np.uint8), cells)


POOL = painted(
    [CARD, 0, 1, 2, EMPTY, 3, 5, EMPTY, 7],
    [8, 9, CARD, EMPTY, 0, EMPTY, 1, 2, 3],
    [5, 7, 8, 9, CARD, 0, 1, EMPTY, 2],
)


def test_batches_recombine_compartments_with_what_lies_in_them():
    made = data.pictures(POOL, 40, np.random.default_rng(0))
    means = made.pixels.reshape(40, 3, 3, SQUARE, 3, SQUARE).mean(axis=(1, 3, 5)).reshape(40, 9)
    level = (made.cells[..., 0] + 3) * 16.0
    light = means.sum(axis=1, keepdims=True) / level.sum(axis=1, keepdims=True)
    assert 0.8 < light.min() < 0.95 < 1.05 < light.max() < 1.2
    assert np.abs(means / light - level).max() < 8  # neighbouring kinds differ by 16
    known = POOL.cells[..., 0].tolist()
    assert all(kinds.tolist() in known for kinds in made.cells[:20, :, 0])
    assert len({tuple(kinds) for kinds in made.cells[20:, :, 0].tolist()}) > 15
    assert ((made.cells[..., 0] == CARD).sum(axis=1) == 1).all()


def test_sparse_batches_empty_compartments_of_their_second_half_only():
    rng = np.random.default_rng(0)
    dense = data.pictures(POOL, 200, rng).cells[..., 0]
    sparse = data.pictures(POOL, 200, rng, sparse=True).cells[..., 0]
    assert (dense[100:] == EMPTY).mean() == pytest.approx(0.2 * 8 / 9, abs=0.05)
    assert (sparse[100:] == EMPTY).mean() == pytest.approx(0.45 * 8 / 9, abs=0.08)
    assert all(kinds in POOL.cells[..., 0].tolist() for kinds in sparse[:100].tolist())


def test_a_rows_facts_are_those_of_its_tray():
    facts = trays.draw_facts(np.random.default_rng(0))
    assert data.facts(np.array(facts.cells)) == facts


@pytest.mark.skipif(not fashion.ROOT.exists(), reason="needs the Debian package dataset-fashion-mnist")
def test_a_pool_is_drawn_by_its_numbers_and_says_what_it_holds():
    pixels, cells = data._render("test", range(3, 6), 1)
    again, same = data._render("test", range(5, 6), 1)
    assert pixels.shape == (3, 3, design.PIXELS, design.PIXELS)
    assert np.array_equal(pixels[2], again[0])
    assert np.array_equal(cells[2], same[0])
    for picture, held in zip(pixels, cells, strict=True):
        spread = picture.reshape(3, 3, SQUARE, 3, SQUARE)[:, :, 6:-6, :, 6:-6].std(axis=(0, 2, 4)).ravel()
        assert (spread[held[:, 0] != EMPTY].min()) > spread[held[:, 0] == EMPTY].max(initial=0)
    assert set(cells[..., 0].ravel()) <= {CARD, EMPTY, *trays.TOLD_APART}

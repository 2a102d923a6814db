from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design, questions, trays
from tests.core.compressor import models

CELLS = np.array([[8, -1, 9, 8], [0, 1, 2, 3], [-1, -1, -1, -1]])


@pytest.fixture(scope="module")
def words():
    return data.Words(design.tokenizer())


def test_every_block_asks_one_question_and_labels_its_answer(words):
    tokenizer = design.tokenizer()
    ids, labels, weights = words.packed(CELLS, np.random.default_rng(0))
    assert ids.shape == labels.shape == weights.shape == (3, data.PACKED)
    for row, held in enumerate(CELLS):
        for (kinds, _), columns in zip(data.ASKED, data.blocks(), strict=True):
            said, asked = labels[row, columns], np.flatnonzero(labels[row, columns] != IGNORE)
            question = tokenizer.decode(ids[row, columns][: asked[0] + 1].tolist())
            starts = {phrase.split()[0] for kind in kinds for phrase in questions.PHRASES[kind]}
            assert question.split()[0] in {start.rstrip(".") for start in starts}
            assert said[asked[-1]] == words.eos
            assert (ids[row, columns][asked[:-1] + 1] == said[asked[:-1]]).all()  # the label is the next id
            assert weights[row, columns].sum() == pytest.approx(1)
            assert ((weights[row, columns] > 0) == (said != IGNORE)).all()
        described = [int(token) for token in labels[row, data.blocks()[0]] if token != IGNORE]
        assert described[:-1] == words.encode(data.facts(held).caption())


def test_no_answer_is_cut_short(words):
    rng = np.random.default_rng(3)
    cells = np.array([trays.draw_facts(rng).cells for _ in range(300)])
    _, labels, _ = words.packed(cells, rng)
    ends = (labels == words.eos).sum(axis=1)
    assert (ends == len(data.ASKED)).mean() > 0.99  # four places of one kind are longer than a block


def test_packed_questions_are_answered_as_if_each_stood_alone(words):
    """The layout's mask and positions hide every other question."""
    net = models.net()
    ids, _, _ = words.packed(CELLS[:2], np.random.default_rng(0))
    image = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(1))
    mask, places = data.layout(len(net.before) + 3)
    with torch.no_grad():
        packed = net.lvlm.hidden(
            Stage.ANSWER,
            net.question(image, torch.from_numpy(ids)),
            attention_mask=torch.from_numpy(mask)[None, None],
            position_ids=torch.from_numpy(places)[None],
        )[:, -data.PACKED :]
        start = 0
        for size in data.BLOCKS:
            block = torch.from_numpy(ids[:, start : start + size])
            alone = net.lvlm.hidden(Stage.ANSWER, net.question(image, block))[:, -size:]
            torch.testing.assert_close(packed[:, start : start + size], alone, rtol=1e-4, atol=1e-5)
            start += size


def test_captions_are_padded_on_the_left_and_equal_ones_share_a_number(words):
    ids, mask, same = words.captions(CELLS[[0, 1, 0, 2]])
    assert same.tolist() == [0, 1, 0, 2]
    assert (ids[mask == 0] == words.pad).all()
    assert ids[3, -2:].tolist() == [words.bos, words.ids["nothing"]]
    assert mask.sum(axis=1).tolist() == [12, 16, 12, 2]


def test_batches_recombine_cells_with_what_lies_in_them():
    """Cell i of tray n is painted with its own value: after recombining, colour and kind still agree."""
    kinds = np.arange(12).reshape(3, 4)
    cells = np.repeat(np.repeat(kinds.reshape(3, 2, 2), 32, axis=1), 32, axis=2)  # [3, 64, 64]
    pixels = np.repeat(cells[:, None] * 15 + 40, 3, axis=1).astype(np.uint8)
    made = data.pictures(data.Pool(pixels, kinds), 40, np.random.default_rng(0))
    means = made.pixels.reshape(40, 3, 2, 32, 2, 32).mean(axis=(1, 3, 5)).reshape(40, 4)
    level = (kinds.ravel() * 15 + 40)[made.cells]
    assert np.abs(means / level - 1).max() < 0.25  # light and noise; neighbours differ by more where dark
    light = means / means.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(light, level / level.mean(axis=1, keepdims=True), rtol=0.05)
    assert all(sorted(row.tolist()) in [k.tolist() for k in kinds] for row in made.cells[:20])
    assert len({tuple(row) for row in made.cells[20:].tolist()}) > 15


def test_sparse_batches_empty_cells_of_their_second_half_only():
    rng = np.random.default_rng(0)
    kinds = np.array([[0, 1, 2, 3], [-1, 4, -1, 5]])
    pool = data.Pool(np.where(kinds[:, :1, None, None] < 0, 0, 90) * np.ones((2, 3, 64, 64), np.uint8), kinds)
    dense = data.pictures(pool, 400, rng).cells
    sparse = data.pictures(pool, 400, rng, sparse=True).cells
    assert (dense[200:] == -1).mean() == pytest.approx(0.25, abs=0.05)
    assert (sparse[200:] == -1).mean() == pytest.approx(0.625, abs=0.05)
    assert all(row in kinds.tolist() for row in sparse[:200].tolist())

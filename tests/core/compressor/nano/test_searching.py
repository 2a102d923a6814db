from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import exam, questions, searching, trays

HELD = [trays.draw_facts(np.random.default_rng(seed)) for seed in range(8)]
CLAIMS = [questions.caption(facts, np.random.default_rng(1)) for facts in HELD]


def made(held=HELD, claims=CLAIMS) -> exam.Exam:
    return exam.Exam([], [], [questions.worded(said) for said in claims], list(held), list(claims))


class Knowing:
    """Its vector of a caption is the picture's own, unless the caption was never said of any."""

    def __init__(self, sat: exam.Exam, vectors) -> None:
        self.known = dict(zip(sat.captions, vectors, strict=True))

    def texts(self, said, k):
        return np.stack([self.known.get(caption, np.zeros(8, np.float32)) for caption in said])

    def text_tokens(self, said, k):
        return self.texts(said, k)[:, None]


def vectors(count: int):
    return np.eye(count, 8, dtype=np.float32)


def test_whoever_knows_all_finds_all_and_tells_all_false_captions():
    sat = made()
    judge = Knowing(sat, vectors(8))
    found = searching.search(judge, vectors(8)[:, None], sat)
    assert found["recall_at_1"] == found["ceiling"] == found["over_ceiling"] == 1
    ways = searching.false_captions(judge, vectors(8)[:, None], sat)
    assert {way: row["accuracy"] for way, row in ways.items()} == {
        **dict.fromkeys(questions.FALSEHOODS, 1),
        "all": 1,
    }
    assert ways["all"]["captions"] == sum(ways[how]["captions"] for how in questions.FALSEHOODS)


def test_whoever_knows_nothing_tells_nothing():
    sat = made()
    blind = SimpleNamespace(
        texts=lambda said, k: np.zeros((len(said), 8), np.float32),
        text_tokens=lambda said, k: np.zeros((len(said), k, 8), np.float32),
    )
    assert searching.search(blind, vectors(8)[:, None], sat)["recall_at_1"] == 1 / 8
    assert searching.false_captions(blind, vectors(8)[:, None], sat)["all"]["accuracy"] == 0


def test_the_ceiling_falls_where_a_caption_is_true_of_two_pictures():
    twice = made([*HELD[:6], HELD[0]], [*CLAIMS[:6], CLAIMS[0]])
    found = searching.search(Knowing(twice, vectors(7)), vectors(7)[:, None], twice)
    assert found["ceiling"] == pytest.approx(6 / 7)
    assert found["finds_one_it_is_true_of"] == 1
    assert found["recall_at_1"] == pytest.approx(6 / 7)


def test_the_second_look_finds_what_the_mean_hides():
    """Two pictures with the same mean; the tokens of one are the text's."""
    one, other = np.eye(2, 8, dtype=np.float32), np.full((2, 8), 0, np.float32)
    other[:, :2] = 0.5
    tokens = np.stack([other, one])
    sat = made(HELD[:2], CLAIMS[:2])
    judge = SimpleNamespace(text_tokens=lambda said, k: np.stack([other, one]))
    found = searching.search(judge, tokens, sat)
    assert found["first_look"] == 0.5
    assert found["recall_at_1"] == 1

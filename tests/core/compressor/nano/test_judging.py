"""Judging all answers at once says what saying them word by word would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import design, exam, samples
from fwd2bot_core.compressor.nano.judging import Judge, pooled
from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.compressor.scoring import same_words
from tests.core.compressor.nano import untrained

ASKED = ["what is in b2?", "describe a1.", "how many items?", "is there a bag?", "what is the lot?"] * 2


@pytest.fixture(scope="module")
def judge():
    return Judge(untrained.net())


@pytest.fixture(scope="module")
def compressor(judge):
    return Fwd2BotCompressor(judge.net, design.tokenizer(), design.METHOD, "0" * 64)


@pytest.fixture(scope="module")
def images(compressor):
    return [compressor.prepare(samples.picture(index, seed=2)) for index in range(6)]


def pixels(images: list[Prepared]):
    return np.stack([exam._pixels(image) for image in images])


def test_an_answer_is_right_exactly_if_it_would_be_said(judge, compressor, images):
    visual = judge.visual(pixels(images))
    tokens = judge.tokens(visual)
    judged = 0
    for stage, image in ((Stage.BASE, visual), (Stage.ANSWER, tokens), (Stage.ANSWER, tokens[:, :2])):
        asked, wanted = [], []
        for row in range(len(images)):
            said = compressor._answers(
                stage, torch.from_numpy(image[row : row + 1]).expand(10, -1, -1), ASKED
            )
            texts = [one.text if len(one.text.split()) < 7 else "nothing" for one in said]
            texts = [text if place % 3 else f"{text} bag".strip() for place, text in enumerate(texts)]
            asked.append(list(zip(ASKED, texts, strict=True)))
            wanted.append([same_words(one.text, text) for one, text in zip(said, texts, strict=True)])
        assert judge.marks(stage, image, asked) == wanted
        judged += sum(map(sum, wanted))
        assert any(not mark for row in wanted for mark in row)
    assert judged > 5


def test_pictures_may_be_asked_differently_many_questions(judge, images):
    tokens = judge.tokens(judge.visual(pixels(images)))
    asked = [[(question, "bag") for question in ASKED[:count]] for count in (1, 10, 3, 9, 8, 2)]
    together = judge.marks(Stage.ANSWER, tokens, asked)
    assert [len(row) for row in together] == [1, 10, 3, 9, 8, 2]
    assert together[3] == judge.marks(Stage.ANSWER, tokens[3:4], [asked[3]])[0]


def test_its_vectors_are_those_of_the_compressor(judge, compressor, images):
    tokens = judge.tokens(judge.visual(pixels(images)))
    summary = compressor.compress(images)
    assert np.allclose(tokens, summary.tokens, atol=1e-4)
    assert np.allclose(pooled(tokens), summary.pooled, atol=1e-4)
    texts = judge.texts(["a1 red bag , c2 blue boot", "nothing"], design.PREFIXES[-1])
    assert np.allclose(texts[0], compressor.embed_text("a1 red bag , c2 blue boot"), atol=1e-4)
    assert np.allclose(texts[1], compressor.embed_text("nothing"), atol=1e-4)

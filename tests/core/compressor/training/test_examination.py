"""An examination asks in batches of one size, and compresses each image of a batch once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.protocol import Answer
from fwd2bot_core.compressor.training import examination
from fwd2bot_core.compressor.training.examination import examine, images_of
from tests.core.compressor.training import worlds

BATCH = 4


@pytest.fixture
def seen(monkeypatch):
    """How many images each compression and how many questions each round of answers had."""
    monkeypatch.setattr(examination, "BATCH", BATCH)
    found = {"compress": [], "answers": [], "answers_from_images": []}

    def count(name):
        kept = getattr(Fwd2BotCompressor, name)

        def counted(self, images, *more):
            found[name].append(len(images))
            return kept(self, images, *more)

        monkeypatch.setattr(Fwd2BotCompressor, name, counted)

    for name in found:
        count(name)
    return found


def test_many_questions_about_few_images(tmp_path, seen):
    items = worlds.items(tmp_path, 3)
    for item in items:
        item.captions.clear()
        item.questions += [replace(question, kind="again") for question in item.questions for _ in range(2)]
    made = worlds.compressor()
    told = []
    figures = examine(made, items, images_of(made, items), limit=17, told=lambda *at: told.append(at))
    assert seen == {
        "compress": [1, 2, 1, 1, 1],
        "answers_from_images": [4, 4, 4, 4, 1],
        "answers": [4, 4, 4, 4, 4, 4, 4, 4, 1, 1],  # at both lengths
    }
    assert told == [(4, 17), (8, 17), (12, 17), (16, 17), (17, 17)]
    assert figures["accuracy"]["all"]["questions"] == 17


def test_each_question_is_answered_from_its_own_image(tmp_path, monkeypatch):
    items = worlds.items(tmp_path, 3)
    made = worlds.compressor()
    known = {}
    for item in items:
        item.captions.clear()
        known[item.name] = made.compress([made.prepare(item.path.read_bytes())]).tokens[0]

    def tell(self, tokens, questions):
        far = [{name: np.abs(row - its[: len(row)]).max() for name, its in known.items()} for row in tokens]
        return [Answer(min(each, key=each.get), 1.0) for each in far]

    monkeypatch.setattr(Fwd2BotCompressor, "answers", tell)
    for item in items:
        item.questions = [replace(question, answer=item.name) for question in item.questions]
    figures = examine(made, items, images_of(made, items), limit=100)
    shares = [figure["share"] for figure in figures["accuracy"]["all"]["from_tokens"].values()]
    assert shares == [1.0, 1.0]

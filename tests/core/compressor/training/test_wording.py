from __future__ import annotations

from dataclasses import replace

import pytest

from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.training.dataset import Item, Question
from fwd2bot_core.compressor.training.wording import Wording
from fwd2bot_core.errors import UsageError
from tests.core.compressor import models

WORDS = models.words()


def wording(**method) -> Wording:
    return Wording(WORDS, replace(models.METHOD, **method), bos=1, eos=[2, 9], caption_tokens=3)


def question(text: str, answer: str) -> Question:
    return Question(text, answer, "kind", "rows.jsonl, row 4")


def ids(text: str) -> list[int]:
    return WORDS.encode(text, add_special_tokens=False).ids


def test_an_answer_is_asked_for_one_step_ahead_up_to_its_end():
    asked = wording().asked([question("how many items?", "two"), question("how many?", "one , two")])
    assert asked.ids.tolist() == [[*ids("how many items two"), 0], [*ids("how many one , two")]]
    assert asked.labels.tolist() == [
        [IGNORE, IGNORE, *ids("two"), 2, IGNORE],
        [IGNORE, *ids("one , two"), 2],
    ]


def test_the_question_is_worded_as_the_compressor_words_it():
    asked = wording(question_template="read <image>is there {question}?").asked([question("a bag", "yes")])
    assert asked.ids[0].tolist() == ids("is there a bag yes")


def test_captions_are_opened_cut_and_padded_on_the_left():
    told = wording().told(["bag", "bag , bag , bag", "bag"])
    assert told.ids.tolist() == [[0, 0, 1, *ids("bag")], [1, *ids("bag , bag")], [0, 0, 1, *ids("bag")]]
    assert told.mask.tolist() == [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]]
    assert told.numbers[0] == told.numbers[2] != told.numbers[1]


def test_what_cannot_be_read_or_said_is_refused_by_row():
    item = Item(models.Path("x"), "x", "", [question("how many items left?", "one , two")])
    assert not wording().check([item])
    with pytest.raises(
        UsageError, match=r"row 4: the answer is 3 tokens long and method\.max_new_tokens is 2"
    ):
        wording(max_new_tokens=2).check([item])
    with pytest.raises(
        UsageError, match=r"row 4: the question is 4 tokens long and method\.max_text_tokens is 3"
    ):
        wording(max_text_tokens=3).check([item])
    with pytest.raises(UsageError, match=r"row 4: the answer has no token"):
        wording().check([Item(models.Path("x"), "x", "", [question("how many ?", " ")])])


def test_unknown_words_are_counted():
    item = Item(models.Path("x"), "x", "", [question("how many bolts ?", "two")], ["bag , bolts"], ["nuts"])
    assert wording().check([item]) == {"bolts": 2, "nuts": 1}


def test_a_model_without_an_end_is_refused():
    with pytest.raises(UsageError, match="no end-of-sequence token"):
        Wording(WORDS, models.METHOD, bos=1, eos=[], caption_tokens=3)

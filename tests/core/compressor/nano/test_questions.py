from __future__ import annotations

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import design, questions, trays
from fwd2bot_core.compressor.nano.trays import EMPTY, KINDS, Facts

BAG, BOOT = KINDS.index("bag"), KINDS.index("boot")
FACTS = Facts((BAG, EMPTY, BOOT, BAG))


def asked(kind: str) -> dict[str, str]:
    rng = np.random.default_rng(0)
    return {q.text: q.answer for q in (questions.ask(kind, FACTS, rng) for _ in range(400))}


def test_each_kind_is_answered_from_the_facts():
    assert set(asked("describe").values()) == {FACTS.caption()}
    assert set(asked("count").values()) == {"three"}
    assert asked("cell")["what is in the top right ?"] == "nothing"
    assert asked("cell")["which item is in the bottom left ?"] == "boot"
    assert asked("presence")["is there a bag ?"] == "yes"
    assert asked("presence")["is there a coat in the tray ?"] == "no"
    assert asked("place")["where is the bag ?"] == "top left and bottom right"
    assert asked("place")["where is a dress ?"] == "nowhere"


def test_yes_is_no_safe_guess():
    rng = np.random.default_rng(1)
    answers = [questions.ask("presence", trays.draw_facts(rng), rng).answer for _ in range(2_000)]
    assert np.mean([a == "yes" for a in answers]) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("kind", questions.PHRASES)
def test_the_tokenizer_knows_every_word_that_can_be_said(kind):
    tokenizer = design.tokenizer()
    unknown = tokenizer.token_to_id("<unk>")
    rng = np.random.default_rng(2)
    for _ in range(300):
        question = questions.ask(kind, trays.draw_facts(rng), rng)
        ids = tokenizer.encode(f"{question.text} {question.answer}").ids
        assert unknown not in ids
        assert len(ids) == len(
            f"{question.text} {question.answer}".split()
        )  # one id a word, as training reads


def test_people_may_write_as_people_do():
    tokenizer = design.tokenizer()
    assert (
        tokenizer.encode("What is in the Top Left?").ids == tokenizer.encode("what is in the top left ?").ids
    )
    caption = tokenizer.encode("top left t-shirt , top right bag").ids
    assert tokenizer.decode(caption) == "top left t-shirt, top right bag"
    assert tokenizer.token_to_id("<unk>") in tokenizer.encode("is there a walrus ?").ids

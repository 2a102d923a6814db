from __future__ import annotations

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import design, questions, trays
from fwd2bot_core.compressor.nano.questions import Claim
from fwd2bot_core.compressor.nano.trays import CARD, EMPTY, KINDS, Facts, Held

BAG, BOOT = KINDS.index("bag"), KINDS.index("boot")
RED, BLUE = (trays.COLORS.index(name) for name in ("red", "blue"))
FACTS = Facts(
    (
        Held(BAG, RED, 1, 0, 1), Held(EMPTY), Held(BOOT, BLUE, 0, 1, 0),
        Held(EMPTY), Held(CARD, 0, 4, 2), Held(BAG, BLUE, 0, 0, 2),
        Held(EMPTY), Held(EMPTY), Held(EMPTY),
    )
)  # fmt: skip
BARE = Facts((Held(CARD, 1, 2, 3), *[Held(EMPTY)] * 8))


def asked(kind: str, facts: Facts = FACTS) -> dict[str, str]:
    rng = np.random.default_rng(0)
    return {q.text: q.answer for q in (questions.ask(kind, facts, rng) for _ in range(400))}


@pytest.mark.parametrize(
    ("kind", "question", "answer"),
    [
        ("cell", "what is in a1?", "bag"),
        ("cell", "which item lies in b1?", "nothing"),
        ("cell", "what is in b2?", "card"),
        ("color", "what color is a3?", "blue"),
        ("size", "how big is a1?", "big"),
        ("pose", "which way lies a3?", "turned"),
        ("state", "is anything wrong with b3?", "broken"),
        ("state", "what state is a3?", "fine"),
        ("item", "describe a1.", "big red bag , upright , scratched"),
        ("lot", "read the lot.", "042"),
        ("count", "how many items?", "three"),
        ("level", "what lies at the top?", "bag , nothing , boot"),
        ("level", "what lies at the middle?", "nothing , card , bag"),
        ("beside", "what is left of b2?", "nothing"),
        ("beside", "which item is below a3?", "bag"),
        ("beside", "what is above b3?", "boot"),
        ("presence", "is there a boot?", "yes"),
        ("presence", "is there a coat?", "no"),
        ("presence", "is anything red?", "yes"),
        ("presence", "is anything white?", "no"),
        ("place", "where is the boot?", "a3"),
        ("place", "find the dress.", "nowhere"),
    ],
)
def test_each_kind_is_answered_from_the_facts(kind, question, answer):
    assert asked(kind)[question] == answer


def test_every_kind_of_question_is_tried_above():
    (mark,) = test_each_kind_is_answered_from_the_facts.pytestmark
    assert {kind for kind, _, _ in mark.args[1]} == set(questions.PHRASES)


def test_what_lies_in_several_compartments_is_never_looked_for():
    assert not any("bag" in question for question in asked("place"))
    double = Facts((Held(CARD), Held(BAG), Held(BAG), Held(BOOT), Held(BOOT), *[Held(EMPTY)] * 4))
    rng = np.random.default_rng(0)
    found = questions.ask("place", double, rng, [BAG, BOOT])
    assert (found.text.split()[-1].strip("?."), found.answer) == ("card", "a1")


@pytest.mark.parametrize("kind", questions.ABOUT_ITEMS)
def test_a_tray_without_items_is_asked_what_lies_there(kind):
    made = questions.ask(kind, BARE, np.random.default_rng(0))
    assert (made.kind, made.answer in ("nothing", "card")) == ("cell", True)


def test_no_kind_but_those_given_is_named():
    rng = np.random.default_rng(4)
    texts = [
        questions.ask(kind, trays.draw_facts(rng), rng, trays.TOLD_APART).text
        for kind in ("presence", "place")
        for _ in range(400)
    ]
    assert not any(word in text for word in ("coat", " shirt") for text in texts)


def test_yes_is_no_safe_guess():
    rng = np.random.default_rng(1)
    answers = [
        questions.ask("presence", trays.draw_facts(rng), rng, trays.TOLD_APART).answer for _ in range(2_000)
    ]
    assert np.mean([a == "yes" for a in answers]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("kind", questions.PHRASES)
def test_the_tokenizer_knows_every_word_that_can_be_said(kind):
    tokenizer = design.tokenizer()
    unknown = tokenizer.token_to_id("<unk>")
    rng = np.random.default_rng(2)
    for _ in range(200):
        facts = trays.draw_facts(rng)
        question = questions.ask(kind, facts, rng)
        said = questions.worded(questions.caption(facts, rng))
        assert unknown not in tokenizer.encode(f"{question.text} {question.answer} {said}").ids


def test_a_caption_is_true_and_names_four_items_at_most():
    rng = np.random.default_rng(3)
    for _ in range(200):
        facts = trays.draw_facts(rng)
        said = questions.caption(facts, rng)
        assert len(said) == min(len(facts.items), questions.CLAIMS)
        assert all(claim.holds(facts) for claim in said)
        assert [claim.cell for claim in said] == sorted({claim.cell for claim in said})
    assert questions.worded(questions.caption(FACTS, rng)) == "a1 red bag , a3 blue boot , b3 blue bag"
    assert questions.worded(questions.caption(BARE, rng)) == "nothing"


@pytest.mark.parametrize("how", questions.FALSEHOODS)
def test_a_false_caption_is_nearly_the_true_one_and_false(how):
    rng = np.random.default_rng(5)
    made = 0
    for _ in range(300):
        facts = trays.draw_facts(rng)
        said = questions.caption(facts, rng)
        false = questions.false_caption(said, facts, rng, how, trays.TOLD_APART)
        if false is None:
            continue
        made += 1
        assert not all(claim.holds(facts) for claim in false)
        assert {claim.kind for claim in false} <= set(trays.TOLD_APART)
        left, new = set(said) - set(false), set(false) - set(said)
        assert (len(left), len(new)) == {"swap": (2, 2), "replace": (1, 1), "add": (0, 1)}[how]
        if how == "swap":  # the same words in other places
            assert sorted(questions.worded(said).split()) == sorted(questions.worded(false).split())
        if how == "replace":
            (was,), (now,) = left, new
            assert sum(a != b for a, b in zip(was, now, strict=True)) == 1
    assert made > 250


def test_what_cannot_be_said_falsely_is_none():
    alone = (Claim(0, RED, BAG),)
    rng = np.random.default_rng(0)
    assert questions.false_caption(alone, FACTS, rng, "swap") is None
    assert questions.false_caption((), BARE, rng, "replace") is None

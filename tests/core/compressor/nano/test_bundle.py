"""The bundle that ships, as it ships: small, whole, and better than guessing on photos it has never seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fwd2bot_core.compressor.bundle import SHIPPED, load_bundle, read_spec, self_check
from fwd2bot_core.compressor.evaluation import accuracy, recall_at_1
from fwd2bot_core.compressor.nano import design, exam, questions, samples

FOLDER = SHIPPED["nano"]
TRAYS = 32


@pytest.fixture(scope="module")
def nano():
    return load_bundle("nano")


@pytest.fixture(scope="module")
def held_out(nano):
    return exam.shipped(nano.prepare, TRAYS)


def test_it_is_small_and_for_demonstrations_only(nano):
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10_000_000
    assert nano.spec.demonstration_only
    assert (nano.spec.name, nano.spec.k, nano.spec.d) == ("nano", design.METHOD.k, nano.net.lvlm.width)
    assert {nano.method.k, *nano.method.trained_k} == set(design.PREFIXES)
    assert nano.spec == read_spec("nano")


def test_it_still_answers_as_it_did_when_it_was_made(nano):
    assert len(nano.probes) == 8
    assert self_check(nano) == []


def test_it_answers_from_tokens_far_above_chance_and_near_the_image(nano, held_out):
    """A question of each kind about trays of test-split photos; the card's own figures are from many more."""
    table = accuracy(nano, held_out.examples)
    assert table["all"].questions == TRAYS * len(questions.PHRASES)
    assert table["all"].from_tokens > table["all"].chance + 0.25
    assert table["all"].from_tokens > table["all"].from_image - 0.1
    for kind in ("cell", "color", "item", "lot", "count", "place"):
        assert table[kind].from_tokens > table[kind].chance + 0.1, kind


def test_it_finds_a_tray_by_its_description(nano, held_out):
    assert recall_at_1(nano, held_out.images, held_out.captions) > 0.5  # chance is one in TRAYS


def test_tokens_are_the_same_bits_again_and_nearly_the_same_alone(nano, held_out):
    images = held_out.images[:16]
    together, again = nano.compress(images).tokens, nano.compress(images).tokens
    assert together.tobytes() == again.tobytes()
    alone = np.concatenate([nano.compress([image]).tokens for image in images])
    assert np.abs(alone - together).max() < 1e-3  # numbers are of the size of one


def test_people_may_ask_as_people_do(nano):
    tokens = nano.compress([nano.prepare(samples.picture(0, seed=5))]).tokens[0]
    as_people_do = ("What is in B2 ?", "Describe A3!", "READ THE LOT", "how many items")
    as_learned = ("what is in b2?", "describe a3.", "read the lot.", "how many items?")
    said = [nano.answer(tokens, question).text for question in as_people_do]
    assert said == [nano.answer(tokens, question).text for question in as_learned]
    assert said[-1] in questions.NUMBERS
    assert len(said[2]) == 3  # a lot is three digits


def test_its_card_and_figures_are_its_own(nano):
    figures = json.loads((FOLDER / "evaluation.json").read_bytes())
    card = (FOLDER / "MODEL_CARD.md").read_text()
    assert figures["fingerprint"] == nano.spec.fingerprint
    assert nano.spec.fingerprint in card
    for goal in figures["goals"]:
        assert f"| {goal['figure']} | {goal['goal']} | {goal['measured']} |" in card
    assert not figures["origin"]["commit"].endswith("+")

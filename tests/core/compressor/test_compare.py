"""Image against tokens: the same as asking each alone the long way, and in as many forward passes as is said."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor import compare
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.errors import CompressorMismatch, UsageError
from tests.core.compressor import models

QUESTIONS = ["describe .", "how many items ?", "is there a bag ?", "where is the boot ?", "describe ."]


@pytest.fixture(scope="module")
def compressor():
    return models.compressor()


@pytest.fixture(scope="module")
def prepared(compressor):
    return [compressor.prepare(models.image(seed)) for seed in range(5)]


@pytest.fixture(scope="module")
def tokens(compressor, prepared):
    return compressor.compress(prepared).tokens


@torch.inference_mode()
def the_long_way(compressor, image, stored, question):
    """Whole sequences, no cache, one image and one question, numpy's own logarithms."""
    net, ids = compressor.net, torch.tensor([compressor._asked([question])[0]])
    visual, states = compressor._seen([image]), compressor._states(stored[None])
    said, distances, agrees = [], [], True
    for _ in range(models.METHOD.max_new_tokens):
        whole = torch.cat([ids, torch.tensor([said], dtype=torch.long)], dim=1)
        sides = [(Stage.BASE, visual), (Stage.ANSWER, states)]
        logits = [
            net.lvlm.logits(net.lvlm.hidden(s, net.question(v, whole)))[0, -1].double().numpy()
            for s, v in sides
        ]
        p, q = (np.exp(x - np.logaddexp.reduce(x)) for x in logits)
        m = (p + q) / 2
        distances.append(np.sqrt((p @ np.log2(p / m) + q @ np.log2(q / m)) / 2))
        agrees &= p.argmax() == q.argmax()
        said.append(int(p.argmax()))
        if said[-1] in net.lvlm.eos:
            break
    return compressor._text(said), agrees, distances


def test_it_is_what_each_alone_would_give(compressor, prepared, tokens):
    found = compressor.compare(tokens, prepared, QUESTIONS)
    assert [len(row) for row in found] == [5] * 5
    for image, stored, row in zip(prepared, tokens, found, strict=True):
        for question, finding in zip(QUESTIONS, row, strict=True):
            answer, agrees, distances = the_long_way(compressor, image, stored, question)
            assert (finding.question, finding.answer, finding.agrees) == (question, answer, agrees)
            np.testing.assert_allclose(finding.distances, distances, atol=2e-3)
    whole = compressor.answers_from_images(prepared, ["describe ."] * 5)
    assert [row[0].answer for row in found] == [answer.text for answer in whole]


def test_it_agrees_exactly_where_the_tokens_would_answer_so(compressor, prepared, tokens):
    found = compressor.compare(tokens, prepared, QUESTIONS)
    for row in found:
        for finding in row:
            assert finding.agrees == (finding.told == finding.answer)
    told = [[a.text for a in compressor.answers(np.stack([t] * 5), QUESTIONS)] for t in tokens]
    assert [[f.agrees for f in row] for row in found] == [
        [f.answer == text for f, text in zip(row, texts, strict=True)]
        for row, texts in zip(found, told, strict=True)
    ]
    for row, texts in zip(found, told, strict=True):
        for finding, text in zip(row, texts, strict=True):
            assert text.startswith(finding.told.removesuffix(" …"))  # as far as it is known


def test_a_model_whose_tokens_are_its_image_is_not_apart_from_itself(prepared):
    """Both views are the base's then, and the "tokens" are the visual tokens themselves."""
    compressor = models.compressor()
    with torch.no_grad():
        for parameter in compressor.net.own_parameters().values():
            parameter.zero_()
    with torch.inference_mode():
        visual = compressor._seen(prepared)
        rows = compare.compare(compressor.net, visual, visual, compressor._asked(QUESTIONS), 6)
    assert all(one.agrees for row in rows for one in row)
    assert max(d for row in rows for one in row for d in one.distances) < 2e-3


def test_the_forward_passes_are_as_many_as_is_said(compressor, prepared, tokens, monkeypatch):
    passes = {"tower": 0, Stage.BASE: 0, Stage.ANSWER: 0}
    hidden, visual = compressor.net.lvlm.hidden, compressor.net.lvlm.visual

    def counted_hidden(stage, *args, **options):
        passes[stage] += 1
        return hidden(stage, *args, **options)

    def counted_visual(*args, **options):
        passes["tower"] += 1
        return visual(*args, **options)

    monkeypatch.setattr(compressor.net.lvlm, "hidden", counted_hidden)
    monkeypatch.setattr(compressor.net.lvlm, "visual", counted_visual)
    found = compressor.compare(tokens, prepared, QUESTIONS)
    groups: dict[int, int] = {}  # length of the question -> words of the longest answer
    for question, asked in zip(QUESTIONS, compressor._asked(QUESTIONS), strict=True):
        longest = max(len(row[QUESTIONS.index(question)].distances) for row in found)
        groups[len(asked)] = max(groups.get(len(asked), 0), longest)
    assert len(groups) == 3
    assert passes == {"tower": 1, Stage.BASE: 1 + sum(groups.values()), Stage.ANSWER: 3}
    monkeypatch.setattr(compare, "AT_ONCE", 10 * 16)  # two images of five questions: three times the passes
    passes.update(dict.fromkeys(passes, 0))
    compressor.compare(tokens, prepared, QUESTIONS)
    assert passes["tower"] == 1
    assert passes[Stage.ANSWER] == 9


@pytest.mark.parametrize(("at_once", "rows"), [(1, 1), (2 * 16, 2), (20 * 16, 8), (10**6, 10)])
def test_memory_is_bounded_by_visual_tokens_whatever_the_questions(
    compressor, prepared, tokens, monkeypatch, at_once, rows
):
    expected = compressor.compare(tokens, prepared, QUESTIONS)
    hidden, seen, copies = compressor.net.lvlm.hidden, [], []

    def watched(stage, embeddings, **options):
        seen.append(len(embeddings))
        return hidden(stage, embeddings, **options)

    monkeypatch.setattr(compressor.net.lvlm, "hidden", watched)
    copying = SimpleNamespace(deepcopy=lambda cache: copies.append(1) or copy.deepcopy(cache))
    monkeypatch.setattr(compare, "copy", copying)
    monkeypatch.setattr(compare, "AT_ONCE", at_once)
    found = compressor.compare(tokens, prepared, QUESTIONS)
    assert max(seen) == rows
    for row, other in zip(found, expected, strict=True):
        for one, two in zip(row, other, strict=True):
            assert (one.answer, one.agrees) == (two.answer, two.agrees)
            np.testing.assert_allclose(one.distances, two.distances, atol=2e-3)
    if at_once == 10**6:
        assert len(copies) == 2  # of three groups of questions, the last takes the cache itself


def test_neighbours_change_nothing_but_rounding(compressor, prepared, tokens):
    together = compressor.compare(tokens, prepared, QUESTIONS)
    for row, (image, stored) in enumerate(zip(prepared, tokens, strict=True)):
        (alone,) = compressor.compare(stored[None], [image], QUESTIONS[:1])
        np.testing.assert_allclose(alone[0].distances, together[row][0].distances, atol=2e-3)


def test_damaged_tokens_are_further_away(compressor, prepared, tokens):
    own = compressor.compare(tokens, prepared, QUESTIONS[:1])
    others = compressor.compare(np.zeros_like(tokens), prepared, QUESTIONS[:1])
    again = compressor.compare(tokens, prepared, QUESTIONS[:1])
    assert [row[0].distances for row in own] == [row[0].distances for row in again]
    assert [row[0].distances for row in own] != [row[0].distances for row in others]


def test_nothing_is_compared_to_nothing(compressor, tokens):
    assert compressor.compare(tokens[:0], [], QUESTIONS) == []


def test_what_cannot_be_compared_is_refused(compressor, prepared, tokens):
    with pytest.raises(UsageError, match="65 tokens long"):
        compressor.compare(tokens, prepared, ["bag " * 65])
    with pytest.raises(CompressorMismatch):
        compressor.compare(tokens[:, :2], prepared, QUESTIONS)


def test_bfloat16_is_compared_too(prepared):
    compressor = models.compressor(replace(models.METHOD, dtype="bfloat16"))
    stored = compressor.compress(prepared).tokens
    assert stored.dtype == np.uint16
    for row in compressor.compare(stored, prepared, QUESTIONS):
        for finding in row:
            assert all(0 <= distance <= 1 for distance in finding.distances)


def test_the_distance_is_0_for_equals_and_1_for_strangers():
    logits = torch.tensor([[5.0, 0.0, -3.0], [100.0, -100.0, -100.0]])
    other = torch.tensor([[6.0, 1.0, -2.0], [-100.0, 100.0, -100.0]])
    assert compare.distance(logits, other).tolist() == pytest.approx([0.0, 1.0], abs=1e-3)
    half = compare.distance(torch.tensor([50.0, 50.0, -50.0]), torch.tensor([50.0, -50.0, -50.0]))
    # p = (1/2, 1/2), q = (1, 0): JSD = H(3/4, 1/4) - H(1/2)/2 = 0.811278 - 0.5
    assert float(half) == pytest.approx(0.311278**0.5, abs=1e-4)


def test_questions_can_be_checked_without_an_image(compressor):
    compressor.check(QUESTIONS)
    for question in (" ", "bag " * 65):
        with pytest.raises(UsageError):
            compressor.check([*QUESTIONS, question])

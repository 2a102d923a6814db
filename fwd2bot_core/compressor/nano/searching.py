"""How well pictures are found by captions, and how well true captions are told from false ones.

Knows vectors and captions. Knows nothing of answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fwd2bot_core.compressor.nano import exam as exams
from fwd2bot_core.compressor.nano import questions
from fwd2bot_core.compressor.nano.judging import Floats, Judge, pooled
from fwd2bot_core.tokens.search import late, second_look

AGAIN = 20  # as the setting search.rerank is by default


def search(judge: Judge, tokens: Floats, exam: exams.Exam) -> dict[str, Any]:
    """Text to image among all pictures, whose tokens are [N, k, d]: a find is the very picture that the caption is of.

    ``first_look`` has vectors alone; the rest is with ``fwd2bot search``'s second look, token by token, at the first
    ``AGAIN``. ``ceiling``: what is left for whoever knows everything, since a caption may be true of several pictures.
    """
    vectors, texts = pooled(tokens), judge.text_tokens(exam.captions, tokens.shape[1])
    scores = pooled(texts) @ vectors.T
    nearest = np.array([_nearest(row, text, tokens) for row, text in zip(scores, texts, strict=True)])
    true_of = [sum(all(c.holds(facts) for c in said) for facts in exam.held) for said in exam.claims]
    own = np.arange(len(nearest))
    found, ceiling = float(np.mean(nearest == own)), float(np.mean(1 / np.array(true_of)))
    return {
        "among": len(vectors),
        "recall_at_1": found,
        "ceiling": ceiling,
        "over_ceiling": found / ceiling,
        "first_look": float(np.mean(scores.argmax(1) == own)),
        "finds_one_it_is_true_of": float(
            np.mean(
                [
                    all(claim.holds(exam.held[at]) for claim in said)
                    for said, at in zip(exam.claims, nearest, strict=True)
                ]
            )
        ),
    }


def _nearest(scores: Floats, text: Floats, tokens: Floats) -> int:
    """The picture [k, d] of ``tokens`` [N, k, d] that a ``text`` [k, d] with these pooled cosines [N] finds first."""
    first = np.argsort(-scores, kind="stable")[:AGAIN]
    return int(first[second_look(scores[first], late(text, tokens[first])).argmax()])


def false_captions(judge: Judge, tokens: Floats, exam: exams.Exam) -> dict[str, dict[str, float]]:
    """By way of falsehood and of all: how often the true caption is nearer to the picture than one that is not true."""
    vectors, k = pooled(tokens), tokens.shape[1]
    true = (judge.texts(exam.captions, k) * vectors).sum(1)
    marks: dict[str, list[bool]] = {}
    for how in questions.FALSEHOODS:
        said = exam.false(how)
        rows = [row for row, caption in enumerate(said) if caption is not None]
        texts = judge.texts([caption for caption in said if caption is not None], k)
        marks[how] = (true[rows] > (texts * vectors[rows]).sum(1)).tolist()
    marks["all"] = [mark for row in marks.values() for mark in row]
    return {how: {"accuracy": float(np.mean(row)), "captions": len(row)} for how, row in marks.items()}

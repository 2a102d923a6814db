from __future__ import annotations

import numpy as np
import pytest

from fwd2bot_core.compressor.evaluation import Example, accuracy, recall_at_1, right
from fwd2bot_core.compressor.protocol import Answer, Prepared, Summary

IMAGES = [Prepared(np.full((1, 1, 1), i, np.uint8), 1, 1, "PNG") for i in range(4)]


class Oracle:
    """Knows image i by its number; from tokens it misreads number 3."""

    def compress(self, images):
        numbers = np.array([[int(image.pixels[0, 0, 0])] for image in images])
        return Summary(numbers[..., None], np.eye(4, dtype=np.float32)[numbers[:, 0]])

    def answers(self, tokens, questions):
        return [Answer("Bag , boot" if n[0, 0] != 3 else "coat", 1.0) for n in tokens]

    def answers_from_images(self, images, questions):
        return [Answer("bag, boot", 1.0) for _ in images]

    def embed_text(self, text):
        return np.eye(4, dtype=np.float32)[int(text[-1])]


def test_accuracy_counts_exact_answers_by_kind_beside_chance():
    answers = ["bag , boot", "bag , boot", "coat", "bag , boot"]
    examples = [
        Example(image, "a" if i < 2 else "b", "?", answer)
        for i, (image, answer) in enumerate(zip(IMAGES, answers, strict=True))
    ]
    table = accuracy(Oracle(), examples)
    assert (table["a"].from_tokens, table["a"].from_image, table["a"].chance) == (1.0, 1.0, 1.0)
    assert (table["b"].from_tokens, table["b"].from_image, table["b"].chance) == (0.0, 0.5, 0.5)
    assert (table["all"].questions, table["all"].from_tokens, table["all"].chance) == (4, 0.5, 0.75)
    assert table["all"].interval == pytest.approx(0.49)


@pytest.mark.parametrize(
    ("said", "counts"), [("top left bag, top right boot", True), ("top left bag", False), ("", False)]
)
def test_an_answer_is_right_word_for_word(said, counts):
    example = Example(IMAGES[0], "describe", "describe .", "top left bag , top right boot")
    assert right(Answer(said, 1.0), example) is counts


def test_recall_counts_finds_that_carry_the_caption():
    assert recall_at_1(Oracle(), IMAGES, ["c0", "c1", "c2", "c3"]) == 1.0
    assert recall_at_1(Oracle(), IMAGES, ["c0", "c2", "c1", "c3"]) == 0.5
    assert recall_at_1(Oracle(), IMAGES, ["c0", "c0", "c2", "c3"]) == 1.0  # an equal caption is as good

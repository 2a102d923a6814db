"""The nearest of many vectors, several examples as one direction, and the second look token by token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.errors import UsageError
from fwd2bot_core.tokens.search import Nearest, direction, late, recall, second_look

SCORES = st.lists(st.floats(-1, 1, width=32), max_size=40)


@given(scores=SCORES, k=st.integers(1, 12))
def test_the_best_are_those_of_a_stable_sort(scores: list[float], k: int) -> None:
    best: Nearest[int] = Nearest(k)
    for place, score in enumerate(scores):
        best.offer(score, place)
    expected = sorted(range(len(scores)), key=lambda place: -scores[place])[:k]
    assert [name for _, name in best.best()] == expected
    assert best.full == (len(scores) >= k)
    assert best.worst == (scores[expected[-1]] if best.full else -np.inf)


@pytest.mark.parametrize("k", [0, -1])
def test_none_of_many_is_no_question(k: int) -> None:
    with pytest.raises(UsageError, match="ask for one at least"):
        Nearest(k)


def test_examples_count_alike_whatever_their_length() -> None:
    found = direction(np.array([[10, 0], [0, 0.1]], np.float32))
    np.testing.assert_allclose(found, [2**-0.5, 2**-0.5], rtol=1e-6)


def test_examples_that_cancel_out_have_no_direction() -> None:
    with pytest.raises(UsageError, match="nothing in common"):
        direction(np.array([[1, 0], [-1, 0]], np.float32))


def test_late_is_the_mean_of_each_query_token_s_best_cosine() -> None:
    query = np.array([[2, 0], [0, 3]], np.float32)
    images = np.array([[[1, 0], [1, 1]], [[-1, 0], [0, 0]]], np.float32)
    np.testing.assert_allclose(late(query, images), [(1 + 2**-0.5) / 2, 0], atol=1e-6)


def test_the_second_look_counts_twice() -> None:
    np.testing.assert_allclose(second_look(np.array([0.9], "f4"), np.array([0.3], "f4")), [0.5], rtol=1e-6)


def test_recall_is_the_share_that_is_found_again() -> None:
    assert recall(np.array([[1, 2], [3, 4]]), np.array([[2, 9], [4, 3]])) == 0.75

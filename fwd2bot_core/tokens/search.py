"""Which of many vectors are nearest to a query, when they come in parts and not all of them count.

Everything is L2-normalised, so a score is a cosine: 1 is the same direction. Knows numbers; knows nothing about where
vectors lie or what they show.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from fwd2bot_core.errors import UsageError

Name = TypeVar("Name", bound=Hashable)


class Nearest(Generic[Name]):
    """The ``k`` best names offered so far; of equal scores, the first offered wins."""

    def __init__(self, k: int) -> None:
        """Raises ``UsageError`` for less than one."""
        if k < 1:
            raise UsageError(f"{k} results were asked for; ask for one at least")
        self.k = k
        self._heap: list[tuple[float, int, Name]] = []  # the worst first; of equals, the last offered
        self._offered = 0

    @property
    def full(self) -> bool:
        return len(self._heap) == self.k

    @property
    def worst(self) -> float:
        """What a score must exceed to count; minus infinity until there are k."""
        return self._heap[0][0] if self.full else -np.inf

    def offer(self, score: float, name: Name) -> None:
        self._offered += 1
        entry = (score, -self._offered, name)
        if not self.full:
            heapq.heappush(self._heap, entry)
        elif score > self.worst:
            heapq.heapreplace(self._heap, entry)

    def best(self) -> list[tuple[float, Name]]:
        """Score and name, the best first."""
        return [(score, name) for score, _, name in sorted(self._heap, key=lambda one: one[:2], reverse=True)]


def direction(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean direction [d] of several examples [B, d], each of which counts alike.

    Raises ``UsageError`` if they cancel out, so that there is none.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = (vectors / np.maximum(lengths, 1e-12)).mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        raise UsageError("the examples have nothing in common that could be searched for: give fewer of them")
    return np.asarray(mean / length, np.float32)


def recall(found: npt.NDArray[np.int64], exact: npt.NDArray[np.int64]) -> float:
    """The share of the ``exact`` results [Q, k] that is among those ``found`` [Q, k]."""
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist(), strict=True)])
    )


def late(query: npt.NDArray[np.float32], tokens: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """How well each image's ``tokens`` [B, K, d] answer each of the ``query``'s tokens [k, d]: the mean over these of
    the best cosine, [B].

    Source: Khattab and Zaharia, "ColBERT" (2020), MaxSim, over summary tokens instead of words.
    """
    best = np.einsum("qd,bkd->bqk", _units(query), _units(tokens)).max(axis=2)
    return np.asarray(best.mean(axis=1), np.float32)


def second_look(first: npt.NDArray[np.float32], closer: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """One score [B] of the pooled cosines and of ``late``, which counts twice; see docs/search.md for why."""
    return np.asarray((first + 2 * closer) / 3, np.float32)


def _units(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(
        vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32
    )

"""Which images, questions and captions each step sees: a matter of seed and step alone, so it needs no state.

Knows items and dice. Knows nothing of files' contents, tokens or models; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.training.dataset import Item, Question

ASKED, TOLD_APART, TEXTS = 1, 2, 3  # streams of dice


@dataclass(frozen=True, slots=True)
class Drawn:
    """One image of a step and what is asked and told of it."""

    item: Item
    questions: tuple[Question, ...]
    lengths: tuple[int, ...]  # of the prefix that each question is answered from
    caption: str | None


class Drawer:
    """Draws the steps. ``batch`` images are asked; with more that have captions, ``compared`` are told apart."""

    def __init__(
        self,
        items: Sequence[Item],
        *,
        batch: int,
        compared: int,
        questions: int,
        lengths: Sequence[int],
        seed: int,
    ) -> None:
        self._items = items
        self._asked = [i for i, item in enumerate(items) if item.questions] if batch else []
        self._told = [i for i, item in enumerate(items) if item.captions] if compared else []
        self._batch, self._compared = batch, compared
        self._questions, self._lengths, self._seed = questions, tuple(lengths), seed

    def step(self, step: int, rank: int = 0, size: int = 1) -> list[Drawn]:
        """One of ``size`` processes' part of a step whose whole has ``size`` times as many images."""
        asked, more = self._chosen(step, size)
        places = [*_part(len(asked), rank, size), *(len(asked) + i for i in _part(len(more), rank, size))]
        chosen = [*asked, *more]
        return [self._drawn(chosen[place], step, place, place < len(asked)) for place in places]

    def _chosen(self, step: int, size: int) -> tuple[list[int], list[int]]:
        """Images to ask about (which may have captions), and more that have."""
        asked = self._walk(ASKED, self._asked, step, size * self._batch, frozenset())
        captioned = sum(bool(self._items[i].captions) for i in asked) if self._compared else 0
        missing = max(0, size * self._compared - captioned)
        return asked, self._walk(TOLD_APART, self._told, step, missing, frozenset(asked))

    def _walk(
        self, stream: int, among: Sequence[int], step: int, count: int, but: frozenset[int]
    ) -> list[int]:
        """The next ``count`` different ones of a shuffled, endless round; fewer where there are no more."""
        found: dict[int, None] = {}
        for position in range(step * count, step * count + 2 * len(among)):
            if len(found) == count:
                break
            epoch, place = divmod(position, len(among))
            chosen = among[int(_shuffled(self._seed, stream, epoch, len(among))[place])]
            if chosen not in but:
                found[chosen] = None
        return list(found)

    def _drawn(self, index: int, step: int, place: int, asked: bool) -> Drawn:
        rng = np.random.default_rng([self._seed, TEXTS, step, place])
        item = self._items[index]
        count = min(self._questions, len(item.questions)) if asked else 0
        questions = tuple(item.questions[i] for i in rng.permutation(len(item.questions))[:count])
        lengths = tuple(self._lengths[i] for i in rng.integers(len(self._lengths), size=count))
        told = item.captions and self._compared
        return Drawn(
            item, questions, lengths, item.captions[int(rng.integers(len(item.captions)))] if told else None
        )


def _part(count: int, rank: int, size: int) -> Iterator[int]:
    """The ``rank``-th of ``size`` nearly equal stretches of 0..count."""
    yield from range(count * rank // size, count * (rank + 1) // size)


@lru_cache(maxsize=8)
def _shuffled(seed: int, stream: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, stream, epoch]).permutation(count)

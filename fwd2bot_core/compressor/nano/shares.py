"""Marks of right and wrong as shares, by kind of question, with intervals from pictures drawn anew.

Questions about one picture are not independent, so it is pictures that the bootstrap draws. Knows counts. Knows nothing
of models or of what was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

Marks = Sequence[Sequence[bool]]
Kinds = Sequence[Sequence[str]]
DRAWS = 2_000
Counts = npt.NDArray[np.int64]


def share(marks: Marks, kinds: Kinds, among: Collection[str] | None = None) -> float:
    """Of right ones among the questions of some kinds, or of all."""
    count = counted(marks, kinds, among)
    return float(count[:, 0].sum() / count[:, 1].sum())


def by_kind(marks: Marks, kinds: Kinds) -> dict[str, float]:
    return {kind: share(marks, kinds, [kind]) for kind in sorted({kind for row in kinds for kind in row})}


def counted(marks: Marks, kinds: Kinds, among: Collection[str] | None = None) -> Counts:
    """Right ones and questions of each picture [N, 2]."""
    rows = [
        [mark for mark, kind in zip(*pair, strict=True) if among is None or kind in among]
        for pair in zip(marks, kinds, strict=True)
    ]
    return np.array([(sum(row), len(row)) for row in rows], np.int64)


def ratio(mine: Marks, whole: Marks, kinds: Kinds, among: Collection[str] | None = None) -> dict[str, float]:
    """The right ones of ``mine`` over those of ``whole``, and the 95 % interval of a paired bootstrap over pictures."""
    right = np.stack([counted(marks, kinds, among)[:, 0] for marks in (mine, whole)], 1)
    draws = np.random.default_rng(1).integers(0, len(right), (DRAWS, len(right)))
    sums = right[draws].sum(1)
    low, high = np.quantile(sums[:, 0] / np.maximum(sums[:, 1], 1), [0.025, 0.975])
    return {"ratio": float(over(*right.sum(0).tolist())), "low": float(low), "high": float(high)}


def over(some: float, whole: float) -> float:
    """Their ratio, and 0 where there is nothing to be a part of."""
    return some / whole if whole else 0.0


def chance(asked: Sequence[Sequence[tuple[str, str]]], kinds: Kinds) -> dict[str, float]:
    """By kind of question and of all: always saying the commonest right answer of each kind."""
    said: dict[str, Counter[str]] = {}
    for pairs, row in zip(asked, kinds, strict=True):
        for (_, answer), kind in zip(pairs, row, strict=True):
            said.setdefault(kind, Counter())[answer] += 1
    top = {kind: answers.most_common(1)[0][1] for kind, answers in sorted(said.items())}
    found = {kind: count / said[kind].total() for kind, count in top.items()}
    return found | {"all": sum(top.values()) / sum(answers.total() for answers in said.values())}

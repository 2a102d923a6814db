"""Does the second pass say from stored tokens what the model says from the image? One score in [0, 1].

The score compares the model with itself. What the model never saw in the image it cannot miss in the tokens, so a
high score says nothing about small things in a large photo; only a person's labels do.
Knows the findings of single questions and arithmetic. Knows nothing of models, images or thresholds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Finding:
    """One question put to an image and to its stored tokens."""

    question: str
    answer: str  # from the image
    agrees: bool  # the tokens' own answer is the same, word for word
    distances: tuple[float, ...]  # [N], see below; never empty

    def __post_init__(self) -> None:
        if not self.distances:
            raise ValueError(f"{self.question!r} was compared at no position of its answer")


# ``distances``: for each token of the image's answer, its end included, the Jensen-Shannon distance (the square root
# of the divergence with base-2 logarithms, in [0, 1]) between what the image and what the tokens would say next, both
# having said the image's answer so far. Jianhua Lin, "Divergence measures based on the Shannon entropy", IEEE
# Transactions on Information Theory 37 (1991); the root is a metric.


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What is kept of an image's findings."""

    score: float  # 1: the same words with the same certainty; 0: nothing in common
    worst: int  # which of the probes did worst, counted from 0


def closeness(finding: Finding) -> float:
    """1 less the mean distance along the answer."""
    return 1.0 - float(np.mean(_distances(finding)))


def weakest(finding: Finding) -> float:
    """1 less the largest distance along the answer: one wrong word among many counts fully."""
    return 1.0 - float(np.max(_distances(finding)))


def _agreement(findings: Sequence[Finding]) -> float:
    return float(np.mean([finding.agrees for finding in findings]))


def _mean(findings: Sequence[Finding]) -> float:
    return float(np.mean([closeness(finding) for finding in findings]))


def _mean_weakest(findings: Sequence[Finding]) -> float:
    return float(np.mean([weakest(finding) for finding in findings]))


def _worst(findings: Sequence[Finding]) -> float:
    return min(weakest(finding) for finding in findings)


AGGREGATES: dict[str, Callable[[Sequence[Finding]], float]] = {
    "agreement": _agreement,  # the share of probes answered with the same words
    "mean": _mean,  # of the probes' closeness
    "mean weakest": _mean_weakest,  # of each probe's least faithful word
    "worst": _worst,  # the least faithful word of all probes
}
CHOSEN = "mean"  # the one that predicts lost answers best: tests/prove/fidelity_auroc.py


def judge(findings: Sequence[Finding]) -> Fidelity:
    """The score of one image over its probes, and the worst of them; ``ValueError`` without any."""
    if not findings:
        raise ValueError("no probe was asked, so nothing is known of the fidelity")
    worst = int(np.argmin([weakest(finding) for finding in findings]))
    return Fidelity(AGGREGATES[CHOSEN](findings), worst)


def probes_sha256(questions: Sequence[str]) -> str:
    """64 hex digits that stand for these probes in this order: scores of two sets do not compare."""
    return hashlib.sha256(json.dumps(list(questions)).encode()).hexdigest()


def _distances(finding: Finding) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[N] in [0, 1]; what is no number, since a model overflowed, is as far away as can be."""
    known = np.nan_to_num(np.array(finding.distances, np.float64), nan=1.0)
    return np.clip(known, 0.0, 1.0)

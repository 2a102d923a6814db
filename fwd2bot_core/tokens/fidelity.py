"""Does the second pass say from stored tokens what the model says from the image? One score in [0, 1].

The score compares the model with itself. What the model never saw in the image it cannot miss in the tokens, so a
high score says nothing about small things in a large photo; only a person's labels do.
Knows the findings of single questions and arithmetic. Knows nothing of models, images or thresholds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Finding:
    """One question put to an image and to its stored tokens: to one crop of it and that crop's own tokens.

    ``distances`` has, for each token of the image's answer, its end included, the Jensen-Shannon distance (the square
    root of the divergence with base-2 logarithms, in [0, 1]) between what the image and what the tokens would say
    next, both having said the image's answer so far. Source: Jianhua Lin, "Divergence measures based on the Shannon
    entropy", IEEE Transactions on Information Theory 37 (1991); its root is a metric.
    """

    question: str
    answer: str  # from the image
    agrees: bool  # the tokens' own answer is the same, word for word
    distances: tuple[float, ...]  # [N], never empty
    told: str = ""  # from the tokens, up to the first word that is not the image's
    crop: int = 0  # which of the view's crops
    others: tuple[Finding, ...] = ()  # the same question put to the other crops, which did no worse

    def __post_init__(self) -> None:
        if not self.distances:
            raise ValueError(f"{self.question!r} was compared at no position of its answer")

    @property
    def looks(self) -> tuple[Finding, ...]:
        """One finding for each crop, the worst first."""
        return (self, *self.others)


def of_all_crops(findings: Sequence[Finding]) -> Finding:
    """The findings of one question about each crop of a photo, in order, as one: that of the worst crop, which holds
    the others."""
    named = [replace(finding, crop=crop) for crop, finding in enumerate(findings)]
    worst, *others = sorted(named, key=_of_look)
    return replace(worst, others=tuple(others))


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What is kept of an image's findings."""

    score: float  # 1: the same words with the same certainty; 0: nothing in common
    worst: int  # which of the probes did worst, counted from 0


def closeness(finding: Finding) -> float:
    """1 less the largest distance along the answer: one doubtful word among many is as bad as one alone."""
    if any(math.isnan(distance) for distance in finding.distances):
        return 0.0  # a model that overflowed knows nothing
    return 1.0 - min(max(finding.distances), 1.0)


def of_probe(finding: Finding) -> float:
    """One probe's fidelity, the mean over crops of what each is worth: half for the same words, half for how close the
    two sides are in saying them."""
    return fmean(map(_of_look, finding.looks))


def _of_look(finding: Finding) -> float:
    return (finding.agrees + closeness(finding)) / 2


def _every_look(findings: Sequence[Finding]) -> list[Finding]:
    return [look for finding in findings for look in finding.looks]


AGGREGATES: dict[str, Callable[[Sequence[Finding]], float]] = {
    "both": lambda findings: fmean(of_probe(finding) for finding in findings),
    "agreement": lambda findings: fmean(look.agrees for look in _every_look(findings)),
    "closeness": lambda findings: fmean(closeness(look) for look in _every_look(findings)),
    "worst": lambda findings: min(of_probe(finding) for finding in findings),
}
CHOSEN = "both"  # which of them predicts lost answers best is measured by tests/prove/fidelity_auroc.py


def judge(findings: Sequence[Finding]) -> Fidelity:
    """The score of one image over its probes, and the worst of them; ``ValueError`` without any."""
    if not findings:
        raise ValueError("no probe was asked, so nothing is known of the fidelity")
    each = [of_probe(finding) for finding in findings]
    return Fidelity(AGGREGATES[CHOSEN](findings), each.index(min(each)))


def probes_sha256(questions: Sequence[str]) -> str:
    """64 hex digits that stand for these probes in this order: scores of two sets do not compare."""
    return hashlib.sha256(json.dumps(list(questions)).encode()).hexdigest()

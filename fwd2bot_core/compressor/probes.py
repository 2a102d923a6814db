"""Does a loaded compressor still say what it said when its bundle was made?

A probe is a tiny picture, a question, the answer given then and the search vector then. Knows the protocol's
face of a compressor. Knows nothing of right and wrong: a probe's answer is the bundle's own, not the truth.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fwd2bot_core.compressor.protocol import Compressor

CLOSE = 0.999  # cosine of then and now: rounding differs between machines, meaning must not


@dataclass(frozen=True, slots=True)
class Probe:
    image: str  # an image file, base64
    question: str
    answer: str
    pooled: tuple[float, ...]  # [d]

    @classmethod
    def make(cls, compressor: Compressor, image: bytes, question: str) -> Probe:
        summary = compressor.compress([compressor.prepare(image)])
        answer = compressor.answer(summary.tokens[0], question).text
        pooled = tuple(round(float(x), 5) for x in summary.pooled[0])
        return cls(base64.b64encode(image).decode(), question, answer, pooled)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Probe:
        return cls(found["image"], found["question"], found["answer"], tuple(found["pooled"]))


def self_check(compressor: Compressor) -> list[str]:
    """One finding a line for every probe that comes out otherwise than then; none means all is well.

    Probes come with a loaded bundle; a compressor without any is itself a finding.
    """
    probes: tuple[Probe, ...] = getattr(compressor, "probes", ())
    if not probes:
        return ["the compressor carries no probes, so nothing can be checked"]
    return [finding for probe in probes for finding in _findings(compressor, probe)]


def _findings(compressor: Compressor, probe: Probe) -> list[str]:
    summary = compressor.compress([compressor.prepare(base64.b64decode(probe.image))])
    said = compressor.answer(summary.tokens[0], probe.question).text
    close = float(summary.pooled[0] @ np.array(probe.pooled, np.float32))
    findings = []
    if said != probe.answer:
        findings.append(f"{probe.question!r} is answered {said!r}, and was {probe.answer!r}")
    if not close >= CLOSE:  # also when it is NaN
        findings.append(f"the search vector of a probe has moved (cosine {close:.4f})")
    return findings

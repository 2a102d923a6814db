"""A worker's second look: what stored tokens say against what their images say, for a share of the images.

What cannot be compared has no fidelity, which later means that its original stays. Knows nothing about shards, stores
or what becomes of the score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fwd2bot_core.compressor.protocol import Compressor, Prepared
from fwd2bot_core.errors import UsageError
from fwd2bot_core.tokens.fidelity import Fidelity, judge
from fwd2bot_core.work import Unit


@dataclass(frozen=True, slots=True)
class Probing:
    """How a collection's fidelity is judged."""

    sample: float = 0.0  # the share of images that are
    probes: tuple[str, ...] = ()  # the questions; none = the bundle's own

    def asked(self, compressor: Compressor) -> tuple[str, ...]:
        """The questions that are put to each chosen image; none if no image is. Raises as ``questions`` does."""
        return questions(compressor, self.probes) if self.sample else ()

    def chooses(self, unit: Unit) -> bool:
        """Whether an object version is among the share: always the same ones, and nobody can tell by a key which."""
        drawn = hashlib.sha256(b"fwd2bot fidelity" + unit.salt).digest()
        return int.from_bytes(drawn[:8], "big") < self.sample * 2**64


UNJUDGED = Probing()


def questions(compressor: Compressor, own: tuple[str, ...]) -> tuple[str, ...]:
    """A collection's ``own`` probes, or the bundle's where it has none, all of them readable.

    Raises ``UsageError`` for one that the compressor cannot read, and where nobody has any.
    """
    asked = own or compressor.fidelity_probes
    if not asked:
        raise UsageError(
            f"compressor {compressor.spec.name} brings no questions to judge fidelity by: set probes in "
            "[collections.NAME.fidelity]"
        )
    for probe in asked:
        try:
            compressor.check([probe])
        except UsageError as error:
            raise UsageError(f"probe {probe[:60]!r} in [collections.NAME.fidelity]: {error}") from error
    return asked


def judged(
    compressor: Compressor, images: Sequence[Prepared], stored: npt.NDArray[Any], probes: Sequence[str]
) -> list[Fidelity | None]:
    """The fidelity of each image's ``stored`` tokens [B, k, d], decoded from the bytes that are kept.

    None where comparing fails for an image alone. A model that fails for everybody is no error here either: few images
    are chosen, which may all be bad ones, and the first pass has just gone through and goes on to tell. ``UsageError``
    for a probe that cannot be read.
    """
    if not images:
        return []
    try:
        return [judge(findings) for findings in compressor.compare(stored, images, probes)]
    except UsageError:
        raise
    except Exception:
        if len(images) == 1:
            return [None]
    # Not above: an error that is being handled keeps its tensors, and memory may be what there is too little of.
    return [
        judged(compressor, [image], row[None], probes)[0] for image, row in zip(images, stored, strict=True)
    ]

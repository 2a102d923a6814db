"""The nano bundle's exam: trays of photos from the official test split, one question of each kind a tray.

Knows facts and pictures. Knows nothing of how answers are found or scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fwd2bot_core.compressor.evaluation import Example
from fwd2bot_core.compressor.nano import data, questions, samples, trays
from fwd2bot_core.compressor.protocol import Prepared

SEED = 77
EXAM_TRAYS = 1_536
SEARCHED = 512


@dataclass(frozen=True, slots=True)
class Exam:
    examples: list[Example]
    images: list[Prepared]
    captions: list[str]


def held_out(count: int = EXAM_TRAYS, seed: int = SEED) -> Exam:
    """``count`` trays from all 10,000 photos of the test split; needs the Debian package."""
    pool = data.make_pool("test", count, seed)
    images = [Prepared(pixels, trays.SIDE, trays.SIDE, "JPEG") for pixels in pool.pixels]
    return _exam(images, [data.facts(held) for held in pool.cells], seed)


def shipped(prepare: Callable[[bytes], Prepared], count: int, seed: int = SEED) -> Exam:
    """The same from the photos that ship, so that anybody can sit it."""
    images = [prepare(samples.picture(index, seed=seed)) for index in range(count)]
    return _exam(images, [samples.facts(index, seed=seed) for index in range(count)], seed)


def _exam(images: list[Prepared], held: list[trays.Facts], seed: int) -> Exam:
    rng = np.random.default_rng([seed, 1])
    examples = []
    for image, facts in zip(images, held, strict=True):
        for kind in questions.PHRASES:
            asked = questions.ask(kind, facts, rng)
            examples.append(Example(image, kind, asked.text, asked.answer))
    return Exam(examples, images, [facts.caption() for facts in held])

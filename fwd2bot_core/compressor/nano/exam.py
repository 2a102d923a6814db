"""The nano bundle's exam: trays of photos from the official test splits, one question of each kind a tray, captions
true and false; easy-VQA's own test questions; single items for a linear probe.

Nothing of it is ever trained or tuned on. Knows facts and pictures. Knows nothing of how answers are found or scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.evaluation import Example
from fwd2bot_core.compressor.nano import data, easy_vqa, fashion, questions, samples, trays
from fwd2bot_core.compressor.nano.design import METHOD
from fwd2bot_core.compressor.preprocess import fit
from fwd2bot_core.compressor.protocol import Prepared

SEED = 77
EXAM_TRAYS = 1_000
EASY_KINDS = ("shape", "color", "yes or no")
MIDDLE, CORNER = 4, 0  # of a single item and of the card beside it, among the compartments
Pairs = list[tuple[str, str]]  # questions with their answers


@dataclass(frozen=True, slots=True)
class Exam:
    """Pictures in order, each with a question of every kind in ``examples`` and what it truly holds."""

    examples: list[Example]
    images: list[Prepared]
    captions: list[str]
    held: list[trays.Facts]
    claims: list[questions.Caption]  # what the captions say

    def false(self, how: str) -> list[str | None]:
        """A caption for each picture that is not true of it; None where there is none of that sort."""
        rng = np.random.default_rng([SEED, questions.FALSEHOODS.index(how)])
        made = []
        for said, facts in zip(self.claims, self.held, strict=True):
            found = questions.false_caption(said, facts, rng, how, trays.TOLD_APART)
            made.append(None if found is None else questions.worded(found))
        return made


@dataclass(frozen=True, slots=True)
class Paper:
    """Pictures [N, 3, 96, 96] uint8, and each one's questions with their answers and kinds."""

    pixels: npt.NDArray[np.uint8]
    asked: list[Pairs]
    kinds: list[list[str]]

    def first(self, count: int) -> Paper:
        return Paper(self.pixels[:count], self.asked[:count], self.kinds[:count])


@dataclass(frozen=True, slots=True)
class Singles:
    """Pictures [N, 3, 96, 96] uint8 of one item each, and of which of the ten kinds it is [N]."""

    pixels: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.int64]


def held_out(count: int = EXAM_TRAYS, seed: int = SEED) -> Exam:
    """``count`` trays from all 10,000 photos of the test split; needs the Debian package."""
    pool = data.make_pool("test", count, seed)
    images = [Prepared(pixels, trays.SIDE, trays.SIDE, "JPEG") for pixels in pool.pixels]
    return _exam(images, [data.facts(held) for held in pool.cells], seed)


def shipped(prepare: Callable[[bytes], Prepared], count: int, seed: int = SEED) -> Exam:
    """The same from the photos that ship, so that anybody can sit it."""
    images = [prepare(samples.picture(index, seed=seed)) for index in range(count)]
    return _exam(images, [samples.facts(index, seed=seed) for index in range(count)], seed)


def paper(exam: Exam) -> Paper:
    """The exam's questions, picture by picture."""
    each = len(questions.PHRASES)
    rows = [exam.examples[start : start + each] for start in range(0, len(exam.examples), each)]
    pixels = np.stack([_pixels(image) for image in exam.images])
    asked = [[(one.question, one.answer) for one in row] for row in rows]
    return Paper(pixels, asked, [[one.kind for one in row] for row in rows])


def easy(count: int | None = None) -> Paper:
    """easy-VQA's test split, or its first ``count`` pictures."""
    split = data.easy("test")
    pixels, asked = split.pixels[:count], split.asked[:count]
    return Paper(pixels, asked, [[easy_kind(answer) for _, answer in pairs] for pairs in asked])


def easy_kind(answer: str) -> str:
    """What easy-VQA asks for when this is the answer."""
    if answer in ("yes", "no"):
        return "yes or no"
    return "shape" if answer in easy_vqa.SHAPES else "color"


def singles(split: str, count: int, seed: int = SEED, processes: int = 2) -> Singles:
    """``count`` big white upright fine items of all ten kinds, each from a photo of its own, in the middle of an empty
    tray with its card; photos and order are drawn by ``seed``."""
    _, kinds = fashion.photos(split)
    chosen = np.random.default_rng([seed, len(kinds)]).permutation(len(kinds))[:count]
    chunks = [chosen[start : start + 250] for start in range(0, len(chosen), 250)]
    with get_context("spawn").Pool(processes) as workers:
        pixels = workers.map(partial(_render_singles, split, seed), chunks)
    return Singles(np.concatenate(pixels), kinds[chosen])


def _render_singles(split: str, seed: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    photos, kinds = fashion.photos(split)
    pixels = np.empty((len(numbers), 3, *METHOD.size), np.uint8)
    for row, number in enumerate(numbers):
        rng = np.random.default_rng([seed, int(number)])
        cells = [trays.Held(trays.EMPTY)] * len(trays.CELLS)
        cells[CORNER] = trays.Held(trays.CARD, *rng.integers(0, 10, 3).tolist())
        white, big = trays.COLORS.index("white"), trays.SIZES.index("big")
        cells[MIDDLE] = trays.Held(int(kinds[number]), white, big)
        shown = [photos[number] if held.is_item else None for held in cells]
        found = decode(trays.photograph(trays.Facts(tuple(cells)), shown, rng), DecodeLimits())
        pixels[row] = fit(found.image, METHOD.size, METHOD.mean)
    return pixels


def _exam(images: list[Prepared], held: list[trays.Facts], seed: int) -> Exam:
    rng = np.random.default_rng([seed, 1])
    examples = []
    for image, facts in zip(images, held, strict=True):
        for kind in questions.PHRASES:
            asked = questions.ask(kind, facts, rng, trays.TOLD_APART)
            examples.append(Example(image, kind, asked.text, asked.answer))
    claims = [questions.caption(facts, rng) for facts in held]
    return Exam(examples, images, [questions.worded(said) for said in claims], held, claims)


def _pixels(image: Prepared) -> npt.NDArray[np.uint8]:
    """Of a picture that is seen whole, as one array [3, H, W]."""
    alone = isinstance(image.pixels, np.ndarray) and image.pixels.ndim == 3
    found: npt.NDArray[np.uint8] = image.pixels if alone else image.pixels[0]
    return found

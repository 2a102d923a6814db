"""The pictures and questions of easy-VQA (Victor Zhou, MIT licence): one drawn shape a picture, 64 pixels a side.

They come with the Python package ``easy-vqa``, needed to train and to examine the nano bundle and by nothing else.
Knows its files. Knows nothing of trays or models.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.preprocess import fit
from fwd2bot_core.errors import UsageError

SHAPES = ("rectangle", "circle", "triangle")
COLORS = ("red", "green", "blue", "yellow", "teal", "brown", "black", "gray")
ANSWERS = ("yes", "no", *SHAPES, *COLORS)
WORDS = (
    "a",
    "color",
    "contain",
    "does",
    "image",
    "in",
    "is",
    "not",
    "of",
    "present",
    "shape",
    "the",
    "there",
    "what",
)


@dataclass(frozen=True, slots=True)
class Split:
    """Fitted pictures [N, 3, side, side] uint8, and each one's questions with their answers."""

    pixels: npt.NDArray[np.uint8]
    asked: list[list[tuple[str, str]]]


def folder() -> Path:
    """Raises ``UsageError`` where the package is not installed."""
    found = find_spec("easy_vqa")
    if found is None or found.origin is None:
        raise UsageError("easy-VQA is missing: pip install --no-deps easy-vqa==1.0")
    return Path(found.origin).parent / "data"


def load(split: str, side: int, mean: tuple[float, float, float]) -> Split:
    """The split "train" (4,000 pictures, 38,575 questions) or "test" (1,000 and 9,673), in the files' order."""
    root = folder() / split
    rows = json.loads((root / "questions.json").read_text())
    files = sorted((root / "images").glob("*.png"), key=lambda file: int(file.stem))
    asked: list[list[tuple[str, str]]] = [[] for _ in files]
    for question, answer, image in rows:
        asked[image].append((question, answer))
    pictures = [fit(decode(file.read_bytes(), DecodeLimits()).image, (side, side), mean) for file in files]
    return Split(np.stack(pictures), asked)

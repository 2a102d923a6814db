"""Tray pictures: up to four item photos on foam, under uneven light, as an inspection camera sees them.

Knows what lies in a tray and how it looks. Knows nothing of questions, files or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

KINDS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
CELLS = ("top left", "top right", "bottom left", "bottom right")
EMPTY = -1

SIDE = 384  # pixels of a picture
CELL = SIDE // 2
ITEM = 172  # pixels of the square that an item's photo is drawn into
RIM = 7  # pixels of tray between the picture's or cell's edge and its foam
MARGIN = (CELL - ITEM) // 2
NOISE_SIDE = 512

Photo = npt.NDArray[np.uint8]  # [28, 28]
Picture = npt.NDArray[np.uint8]  # [384, 384, 3]


@dataclass(frozen=True, slots=True)
class Facts:
    """What lies in each cell, in the order of ``CELLS``: an index into ``KINDS``, or ``EMPTY``."""

    cells: tuple[int, int, int, int]

    @property
    def count(self) -> int:
        return sum(kind != EMPTY for kind in self.cells)

    def name(self, cell: int) -> str:
        return "nothing" if self.cells[cell] == EMPTY else KINDS[self.cells[cell]]

    def places(self, kind: int) -> tuple[str, ...]:
        """The cells that hold an item of ``kind``."""
        return tuple(CELLS[cell] for cell, held in enumerate(self.cells) if held == kind)

    def caption(self) -> str:
        """All of it in words: ``top left bag , bottom right boot``; ``nothing`` for an empty tray."""
        held = [f"{CELLS[i]} {KINDS[kind]}" for i, kind in enumerate(self.cells) if kind != EMPTY]
        return " , ".join(held) or "nothing"


def draw_facts(rng: np.random.Generator) -> Facts:
    """A tray as they come: each cell empty one time in five, else any kind."""
    kinds = rng.integers(0, len(KINDS), 4)
    kinds[rng.random(4) < 0.2] = EMPTY
    a, b, c, d = kinds.tolist()
    return Facts((a, b, c, d))


def render(photos: Sequence[Photo | None], rng: np.random.Generator) -> Picture:
    """The picture of a tray with these photos in its cells (None: empty); ``rng`` draws light and noise."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = rng.integers((70, 80, 88), (100, 108, 118))  # the tray itself
    for cell, photo in enumerate(photos):
        top, left = CELL * (cell // 2), CELL * (cell % 2)
        foam = picture[top + RIM : top + CELL - RIM, left + RIM : left + CELL - RIM]
        foam[:] = rng.integers(18, 34)
        if photo is not None:
            _place(picture[top : top + CELL, left : left + CELL], photo, rng)
    return _light(picture, rng)


def photograph(photos: Sequence[Photo | None], rng: np.random.Generator) -> bytes:
    """The same as a JPEG file, 17 to 33 KB."""
    buffer = BytesIO()
    Image.fromarray(render(photos, rng)).save(buffer, "JPEG", quality=int(rng.integers(87, 94)))
    return buffer.getvalue()


def _place(cell: Picture, photo: Photo, rng: np.random.Generator) -> None:
    """Draw one photo into its cell [192, 192, 3], a little turned, shifted and scaled, never over the rim."""
    turn, scale = rng.uniform(-0.08, 0.08), 28 / (ITEM * rng.uniform(0.9, 1.02))
    cos, sin = float(np.cos(turn)) * scale, float(np.sin(turn)) * scale
    dx, dy = rng.uniform(-8, 8, 2)
    half = ITEM / 2
    affine = (
        cos,
        sin,
        14 - cos * (half + dx) - sin * (half + dy),
        -sin,
        cos,
        14 + sin * (half + dx) - cos * (half + dy),
    )
    drawn = Image.fromarray(photo).transform(
        (ITEM, ITEM), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    tone = rng.integers(215, 256, 3, dtype=np.uint16)  # of 256
    patch = ((np.asarray(drawn, np.uint16)[..., None] * tone) >> 8).astype(np.uint8)
    target = cell[MARGIN : MARGIN + ITEM, MARGIN : MARGIN + ITEM]
    np.maximum(target, patch, out=target)


def _light(picture: Picture, rng: np.random.Generator) -> Picture:
    """Uneven light across the tray, then the sensor's noise."""
    level, across, down = rng.uniform(0.75, 1.1), rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = np.float32(level) + np.float32(across) * ramp[None, :] + np.float32(down) * ramp[:, None]
    x, y = rng.integers(0, NOISE_SIDE - SIDE, 2)
    lit = picture.astype(np.float32)
    lit *= light[..., None]
    lit += _noise()[y : y + SIDE, x : x + SIDE] * np.float32(rng.uniform(1.5, 4.5))
    np.clip(lit, 0, 255, out=lit)
    return lit.astype(np.uint8)


@cache
def _noise() -> npt.NDArray[np.float32]:
    """One sheet of noise that all pictures cut from: drawing it anew would take most of the time."""
    return np.random.default_rng(20261123).standard_normal((NOISE_SIDE, NOISE_SIDE, 3), np.float32)

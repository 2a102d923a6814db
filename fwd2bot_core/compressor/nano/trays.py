"""Tray pictures: item photos on foam in nine compartments and a card with a lot number, under uneven light.

Knows what lies in a tray and how it looks. Knows nothing of questions, files or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

KINDS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
TOLD_APART = (
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    9,
)  # coats and shirts are taken for other things at this size, by people too
COLORS = ("red", "green", "blue", "yellow", "purple", "cyan", "orange", "white")
SIZES = ("small", "big")
POSES = ("upright", "turned")
STATES = ("fine", "scratched", "broken")
ROWS = COLUMNS = 3
CELLS = tuple(f"{row}{column}" for row in "abc" for column in "123")  # a1 is the top left one
EMPTY, CARD = -1, -2
FILLED = 0.8  # the share of compartments that hold something
STATE_SHARES = (0.6, 0.2, 0.2)

SIDE = 384  # pixels of a picture
CELL = SIDE // ROWS
RIM = 5  # pixels of tray between the picture's or compartment's edge and its foam
EXTENT = (84, 112)  # pixels across, by size
NOISE_SIDE = 512
TINTS = np.array(
    [
        (235, 60, 55),
        (60, 205, 75),
        (70, 95, 250),
        (240, 225, 50),
        (175, 60, 215),
        (60, 215, 225),
        (250, 150, 40),
        (245, 245, 245),
    ],
    np.float32,
)

Photo = npt.NDArray[np.uint8]  # [28, 28]
Picture = npt.NDArray[np.uint8]  # [384, 384, 3]


class Held(NamedTuple):
    """What one compartment holds: indices into ``KINDS`` (or ``EMPTY``, ``CARD``), ``COLORS``, ``SIZES``, ``POSES`` and
    ``STATES``. A card has its three digits in place of colour, size and pose."""

    kind: int
    color: int = 0
    size: int = 0
    pose: int = 0
    state: int = 0

    @property
    def is_item(self) -> bool:
        return self.kind >= 0

    @property
    def name(self) -> str:
        return {EMPTY: "nothing", CARD: "card"}.get(self.kind) or KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class Facts:
    """What lies in each compartment, in the order of ``CELLS``; one of them holds the card."""

    cells: tuple[Held, ...]

    @property
    def items(self) -> list[int]:
        """The compartments that hold an item."""
        return [cell for cell, held in enumerate(self.cells) if held.is_item]

    @property
    def lot(self) -> str:
        """The three digits on the card."""
        card = next(held for held in self.cells if held.kind == CARD)
        return f"{card.color}{card.size}{card.pose}"

    def places(self, kind: int) -> list[int]:
        """The compartments that hold an item of ``kind``."""
        return [cell for cell in self.items if self.cells[cell].kind == kind]


def bits() -> float:
    """How much a tray says, in bits: the entropy of ``draw_facts``."""
    filled = -sum(p * np.log2(p) for p in (FILLED, 1 - FILLED))
    state = -sum(p * np.log2(p) for p in STATE_SHARES)
    item = np.log2(len(TOLD_APART)) + np.log2(len(COLORS)) + 2 + state
    return float(np.log2(len(CELLS)) + np.log2(1000) + (len(CELLS) - 1) * (filled + FILLED * item))


def draw_facts(rng: np.random.Generator, kinds: Sequence[int] = TOLD_APART) -> Facts:
    """A tray as they come: one card, each other compartment empty one time in five, else an item of ``kinds``."""
    cells = [_draw_item(rng, kinds) if rng.random() < FILLED else Held(EMPTY) for _ in CELLS]
    cells[int(rng.integers(len(CELLS)))] = Held(CARD, *rng.integers(0, 10, 3).tolist())
    return Facts(tuple(cells))


def _draw_item(rng: np.random.Generator, kinds: Sequence[int]) -> Held:
    kind, color, size, pose = (int(rng.integers(n)) for n in (len(kinds), len(COLORS), 2, 2))
    return Held(kinds[kind], color, size, pose, int(rng.choice(len(STATES), p=STATE_SHARES)))


def render(facts: Facts, photos: Sequence[Photo | None], rng: np.random.Generator) -> Picture:
    """The picture of a tray with these ``photos`` of its items [9]; ``rng`` draws places, light and noise."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = rng.integers((70, 80, 88), (100, 108, 118))  # the tray itself
    for cell, (held, photo) in enumerate(zip(facts.cells, photos, strict=True)):
        top, left = CELL * (cell // COLUMNS), CELL * (cell % COLUMNS)
        foam = picture[top + RIM : top + CELL - RIM, left + RIM : left + CELL - RIM]
        foam[:] = rng.integers(18, 34)
        whole = picture[top : top + CELL, left : left + CELL]
        if held.kind == CARD:
            _lay_card(whole, f"{held.color}{held.size}{held.pose}", rng)
        elif photo is not None:
            _lay_item(whole, held, photo, rng)
    return _light(picture, rng)


def photograph(facts: Facts, photos: Sequence[Photo | None], rng: np.random.Generator) -> bytes:
    """The same as a JPEG file."""
    buffer = BytesIO()
    Image.fromarray(render(facts, photos, rng)).save(buffer, "JPEG", quality=int(rng.integers(87, 94)))
    return buffer.getvalue()


def _lay_item(cell: Picture, held: Held, photo: Photo, rng: np.random.Generator) -> None:
    """Draw one item into its compartment [128, 128, 3], a little turned, shifted and scaled, never over the rim."""
    drawn = _tinted(photo, held, rng)
    if held.pose:
        drawn = drawn.transpose(Image.Transpose.ROTATE_90)
    across = EXTENT[held.size] * rng.uniform(0.96, 1.04)
    turn, scale = rng.uniform(-0.08, 0.08), drawn.width / across
    cos, sin = float(np.cos(turn)) * scale, float(np.sin(turn)) * scale
    room = max(0.0, (CELL - 2 * RIM - across) / 2)
    dx, dy = rng.uniform(-1, 1, 2) * min(room, 6)
    x, y, middle = CELL / 2 + dx, CELL / 2 + dy, drawn.width / 2
    affine = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    patch = np.asarray(
        drawn.transform((CELL, CELL), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    )
    inner = slice(RIM, CELL - RIM)
    np.maximum(cell[inner, inner], patch[inner, inner], out=cell[inner, inner])


def _tinted(photo: Photo, held: Held, rng: np.random.Generator) -> Image.Image:
    """The photo in the item's colour [112, 112, 3], with what is wrong with it."""
    there = photo > 12
    grey = np.where(there, 0.4 + 0.6 / 255 * photo.astype(np.float32), 0)
    tinted = (grey[..., None] * TINTS[held.color]).astype(np.uint8)
    rows, columns = (np.flatnonzero(there.any(axis)) for axis in (1, 0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if STATES[held.state] == "broken":  # a quarter of it is missing
        middle, centre = (top + bottom) // 2, (left + right) // 2
        half = slice(top, middle) if rng.random() < 0.5 else slice(middle, bottom)
        tinted[half, slice(left, centre) if rng.random() < 0.5 else slice(centre, right)] = 0
    drawn = Image.fromarray(tinted).resize((112, 112), Image.Resampling.BILINEAR)
    if STATES[held.state] == "scratched":  # down to what lies under the colour
        x, y = 4 * rng.uniform(left, right, 2), 4 * np.array([top, bottom]) + rng.uniform(-8, 8, 2)
        bare = (20, 20, 20) if COLORS[held.color] == "white" else (255, 255, 255)
        ImageDraw.Draw(drawn).line([(x[0], y[0]), (x[1], y[1])], fill=bare, width=7)
    return drawn


def _lay_card(cell: Picture, lot: str, rng: np.random.Generator) -> None:
    """A light card with three dark digits."""
    drawn = Image.fromarray(cell)
    pen = ImageDraw.Draw(drawn)
    x, y = CELL / 2 + rng.uniform(-3, 3), CELL / 2 + rng.uniform(-14, 14)
    paper = int(rng.integers(205, 240))
    pen.rectangle((x - 55, y - 33, x + 55, y + 33), fill=(paper, paper, paper - 8))
    pen.text((x, y), lot, font=_font(), fill=(25, 25, 30), anchor="mm")
    cell[:] = np.asarray(drawn)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(58)


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

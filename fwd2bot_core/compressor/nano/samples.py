"""A sample archive of inspection photos, as many as wanted, the same on every machine.

Item photos come from one sheet that ships: 1,000 of Fashion-MNIST's *test* split, which the nano bundle has
never seen. Knows trays and files. Knows nothing of models, and needs nothing but numpy and Pillow.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fwd2bot_core.compressor.nano import trays

SHEET = Path(__file__).parent / "photos.png"
COLUMNS, ROWS, PHOTO = 40, 25, 28  # photo i lies in row i // 40 and is of kind i % 10
LINES = 3  # of the imagined factory
A_DAY = 1_000  # pictures
LAST_DAY = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def write_archive(root: Path, count: int, *, seed: int, start: int = 0) -> list[str]:
    """Write ``count`` JPEG pictures, numbers ``start`` on, under ``root``; returns their keys.

    One number and seed give the same file, byte for byte with the same libraries, and the same mtime. A file
    of that name is replaced.
    """
    keys = [key(index) for index in range(start, start + count)]
    for index, name in enumerate(keys, start):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(index, seed=seed))
        at = taken(index).timestamp()
        os.utime(path, (at, at))
    return keys


def key(index: int) -> str:
    """Where picture ``index`` lies: ``line-1/2026-11-23/tray-000123.jpg``."""
    return f"line-{1 + index % LINES}/{taken(index):%Y-%m-%d}/tray-{index:06d}.jpg"


def taken(index: int) -> datetime:
    """When picture ``index`` was taken: a thousand a day, one a minute, the first ones on the last day."""
    day, minute = divmod(index, A_DAY)
    return LAST_DAY - timedelta(days=day) + timedelta(minutes=minute)


def facts(index: int, *, seed: int) -> trays.Facts:
    """What truly lies in the tray of picture ``index``."""
    return trays.draw_facts(np.random.default_rng([seed, index]))


def picture(index: int, *, seed: int) -> bytes:
    """The JPEG file of picture ``index``: 384x384 pixels, 17 to 33 KB."""
    rng = np.random.default_rng([seed, index])
    drawn = trays.draw_facts(rng)
    return trays.photograph(drawn, [photo(held, rng) for held in drawn.cells], rng)


def photo(held: trays.Held, rng: np.random.Generator) -> trays.Photo | None:
    if not held.is_item:
        return None
    each = COLUMNS * ROWS // len(trays.KINDS)
    chosen: trays.Photo = _photos()[held.kind + len(trays.KINDS) * int(rng.integers(each))]
    return chosen


@cache
def _photos() -> npt.NDArray[np.uint8]:
    """All photos of the sheet [1000, 28, 28]."""
    with Image.open(SHEET) as sheet:
        grid = np.asarray(sheet).reshape(ROWS, PHOTO, COLUMNS, PHOTO)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3)).reshape(-1, PHOTO, PHOTO)


def make_sheet(path: Path = SHEET) -> None:
    """Draw the sheet anew from the Debian package's test split: the first hundred photos of each kind."""
    from fwd2bot_core.compressor.nano import fashion

    photos, kinds = fashion.photos("test")
    firsts = np.stack([np.flatnonzero(kinds == kind)[: COLUMNS * ROWS // 10] for kind in range(10)], axis=1)
    grid = photos[firsts.ravel()].reshape(ROWS, COLUMNS, PHOTO, PHOTO).transpose(0, 2, 1, 3)
    Image.fromarray(grid.reshape(ROWS * PHOTO, COLUMNS * PHOTO)).save(path, optimize=True)

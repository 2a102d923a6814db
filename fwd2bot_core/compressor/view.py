"""How a collection's photos are looked at: which crops of each, at what resolution, with how many tokens a crop.

    thumbnail   the whole photo                        if asked for
    tiles       columns x rows of equal ones           row by row
    regions     boxes that somebody named              in the order of the settings

Each crop is scaled to the input resolution and passes through pass 1 by itself: a defect that the thumbnail is
too coarse for fills several pixels of a tile. Knows shares and pixels of photos and what a bundle can serve. Knows
nothing of models or files; imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from fwd2bot_core.compressor.grey import Grey
from fwd2bot_core.compressor.manifest import canonical, sha256
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import UsageError

MAX_CROPS = 64  # of one photo, each of which costs a forward pass and k stored tokens
MAX_SIDE = 8192  # pixels of an input resolution
MAX_OVERLAP = 0.5  # beyond half a tile every place would lie in three
_PRECISION = 1_000_000  # of a share: a millionth of a side, less than a pixel
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Region:
    """A named part of the upright photo: left, top, width and height as shares of its sides, in [0, 1]."""

    name: str
    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        """Raises ``UsageError`` for a box that is not inside the photo or holds nothing of it."""
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"region {self.name!r}: name it with letters, digits, dots, dashes, underscores")
        box = (self.left, self.top, self.width, self.height)
        if not all(0 <= share <= 1 for share in box):
            raise UsageError(
                f"region {self.name}: left, top, width and height are shares of the photo, from 0 to 1, not {box}"
            )
        _settle(self, "left", "top", "width", "height")
        if not (_exact(self.width) and _exact(self.height)):
            raise UsageError(f"region {self.name}: it has no extent; give width and height above 0")
        if _exact(self.left) + _exact(self.width) > 1 or _exact(self.top) + _exact(self.height) > 1:
            raise UsageError(
                f"region {self.name}: it reaches outside the photo (left + width and top + height must not exceed 1)"
            )


@dataclass(frozen=True, slots=True)
class Crop:
    """One part of a photo that becomes k summary tokens; edges as exact shares of its sides."""

    name: str  # "thumbnail", "tile 1,2" (row, column), "region weld"
    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of a photo of ``width`` x ``height``: every pixel that the crop
        touches, so always at least one."""
        return (
            math.floor(self.left * width),
            math.floor(self.top * height),
            math.ceil(self.right * width),
            math.ceil(self.bottom * height),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """The settings of a look at photos; the default one is the bundle's own: the whole photo, once."""

    k: int | None = None  # summary tokens a crop; None = the bundle's
    size: tuple[int, int] | None = (
        None  # pixels of a crop for the model; None = the bundle's, or its family's own
    )
    thumbnail: bool = True
    tiles: tuple[int, int] = (1, 1)  # columns, rows; 1x1 is none
    overlap: float = 0.0  # of neighbouring tiles, as a share of a tile
    regions: tuple[Region, ...] = ()
    grey: Grey = "range"  # how more than 8 bits of grey become 8; see ``pixels.to_rgb``

    def __post_init__(self) -> None:
        """Raises ``UsageError``, which names what cannot be."""
        if self.k is not None and self.k < 1:
            raise UsageError(f"k is {self.k}: a crop needs at least one summary token")
        if self.size is not None and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise UsageError(f"size is {_by(self.size)}: give width and height from 1 to {MAX_SIDE} pixels")
        if min(self.tiles) < 1:
            raise UsageError(f"tiles is {_by(self.tiles)}: give columns and rows from 1 (1x1 is no tiles)")
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise UsageError(f"overlap is {self.overlap}: give a share of a tile from 0 to {MAX_OVERLAP}")
        _settle(self, "overlap")
        names = [region.name for region in self.regions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two regions are named {twice[0]!r}: give each a name of its own")
        if self.count == 0:
            raise UsageError("nothing of a photo would be seen: ask for the thumbnail, tiles or a region")
        if self.count > MAX_CROPS:
            raise UsageError(
                f"{self.count} crops a photo: at most {MAX_CROPS} are possible, so take fewer tiles"
            )

    @property
    def tiled(self) -> bool:
        return self.tiles != (1, 1)

    @property
    def count(self) -> int:
        """Crops a photo."""
        return self.thumbnail + (self.tiles[0] * self.tiles[1] if self.tiled else 0) + len(self.regions)

    @property
    def crops(self) -> tuple[Crop, ...]:
        """What is seen of every photo, in the order of the stored tokens."""
        whole = (Crop("thumbnail", Fraction(0), Fraction(0), Fraction(1), Fraction(1)),)
        return (whole if self.thumbnail else ()) + self._tiles() + tuple(map(_named, self.regions))

    def least(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height that a photo needs so that no crop must be enlarged to ``size``."""
        wide = max(math.ceil(size[0] / (crop.right - crop.left)) for crop in self.crops)
        high = max(math.ceil(size[1] / (crop.bottom - crop.top)) for crop in self.crops)
        return wide, high

    def settled(self, *, k: int, size: tuple[int, int] | None, trained: Collection[int] = ()) -> View:
        """The same look with all of it said, for a bundle of ``k`` tokens at ``size`` that was also ``trained`` for
        some of its shorter prefixes. Raises ``UsageError`` for a k that it was not trained for."""
        serves = sorted({k, *trained})
        mine = k if self.k is None else self.k
        if mine not in serves:
            known = ", ".join(map(str, serves))
            raise UsageError(
                f"k is {mine}, and this bundle was trained for k = {known} only: choose one of these"
            )
        overlap = self.overlap if self.tiled else 0.0  # a lone tile has no neighbour
        return replace(self, k=mine, size=self.size or size, overlap=overlap)

    def as_json(self) -> dict[str, Any]:
        """JSON values: what a fingerprint is taken of, and what a shard says."""
        boxes = [
            {"name": r.name, "left": r.left, "top": r.top, "width": r.width, "height": r.height}
            for r in self.regions
        ]
        grey = (
            {} if self.grey == "range" else {"grey": self.grey}
        )  # views from before it keep their fingerprint
        return {
            "k": self.k,
            "size": None if self.size is None else list(self.size),
            "thumbnail": self.thumbnail,
            "tiles": list(self.tiles),
            "overlap": self.overlap,
            "regions": boxes,
            **grey,
        }

    def _tiles(self) -> tuple[Crop, ...]:
        if not self.tiled:
            return ()
        columns, rows = (_spans(number, _exact(self.overlap)) for number in self.tiles)
        return tuple(
            Crop(f"tile {row},{column}", left, top, right, bottom)
            for row, (top, bottom) in enumerate(rows, start=1)
            for column, (left, right) in enumerate(columns, start=1)
        )


def seen_through(own: CompressorSpec, bundles: View, view: View) -> CompressorSpec:
    """What a bundle with the spec ``own`` is under ``view``; ``bundles`` is its own view, both of them settled.

    A view that changes nothing leaves the bundle's fingerprint; any other has one of its own, since its tokens
    are others.
    """
    if view == bundles:
        return own
    said = view.as_json()
    crops = [crop.name for crop in view.crops]
    return replace(
        own,
        fingerprint=sha256(canonical({"bundle": own.fingerprint, "view": said})),
        k=len(crops) * (view.k or own.k),
        preprocessing={
            **own.preprocessing,
            **({} if view.size is None else {"size": said["size"]}),
            "view": said | {"crops": crops},
        },
    )


def _spans(number: int, overlap: Fraction) -> list[tuple[Fraction, Fraction]]:
    """``number`` equal stretches of 0..1, each sharing ``overlap`` of its length with the next."""
    length = 1 / (number - (number - 1) * overlap)
    starts = [i * length * (1 - overlap) for i in range(number)]
    return [(start, start + length) for start in starts]


def _named(region: Region) -> Crop:
    left, top = _exact(region.left), _exact(region.top)
    right, bottom = left + _exact(region.width), top + _exact(region.height)
    return Crop(f"region {region.name}", left, top, right, bottom)


def _exact(share: float) -> Fraction:
    """The decimal number that was meant, so that 0.7 + 0.3 is 1."""
    return Fraction(share).limit_denominator(_PRECISION)


def _settle(said: Region | View, *shares: str) -> None:
    """One number for each share, however it was written (0, 0.0, 0.1 + 0.2): it goes into fingerprints."""
    for name in shares:
        object.__setattr__(said, name, float(_exact(getattr(said, name))))


def _by(pair: tuple[int, int]) -> str:
    return "x".join(map(str, pair))


BUNDLES_OWN = View()

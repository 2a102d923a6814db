"""The log's Merkle tree as tiles of 256 hashes, in the C2SP tlog-tiles layout, and the subtrees inside them.

Tile ``number`` of level 0 holds 256 leaf hashes; a hash of level n + 1 is the root over one full tile of
level n. Only the last tile of a level is partial. Knows paths and bytes. Knows nothing about where tiles lie.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from fwd2bot_core.audit.merkle import HASH_BYTES, node_hash
from fwd2bot_core.errors import IntegrityError, ObjectMissing

WIDTH = 256  # hashes of a full tile
_HEIGHT = 8  # 2 ** 8 == WIDTH
_KEPT = 64  # tiles in memory, 40 KB each with all that is between them
MOST_BYTES = 2**16 - 1  # of an entry: its length stands in two bytes

HashesAt = Callable[[int, int], list[bytes]]  # (level, number): the tile's hashes, as many as there are


class Tile(NamedTuple):
    """One tile of a tree of a certain size."""

    level: int
    number: int  # from the left, from 0
    width: int = WIDTH  # hashes; fewer than 256 only for the last one of its level

    @property
    def path(self) -> str:
        return tile_path(*self)


def tile_path(level: int, number: int, width: int = WIDTH) -> str:
    """``tile/0/x001/x234/067`` for a full tile, ``tile/0/000.p/12`` for one of 12 hashes.

    Raises ``ValueError`` for a tile that cannot be.
    """
    if not 0 <= level < 64:
        raise ValueError(f"a tile's level is from 0 to 63, not {level}")
    return f"tile/{level}/{_place(number, width)}"


def entries_path(number: int, width: int = WIDTH) -> str:
    """``tile/entries/x001/x234/067``: where the bodies lie whose hashes tile ``number`` of level 0 holds."""
    return f"tile/entries/{_place(number, width)}"


def _place(number: int, width: int) -> str:
    if number < 0 or not 0 < width <= WIDTH:
        raise ValueError(f"no tile has number {number} and width {width}")
    digits = str(number).zfill(-(-len(str(number)) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    place = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
    return place if width == WIDTH else f"{place}.p/{width}"


def tiles_of(old: int, size: int) -> Iterator[Tile]:
    """The tiles that are new or wider in a tree of ``size`` leaves than in one of ``old``, leaves first.

    Raises ``ValueError`` for a tree that would shrink.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a log of {old} events cannot have grown to {size}")
    level = 0
    while size:
        if old < size:
            for number in range(old // WIDTH, -(-size // WIDTH)):
                yield Tile(level, number, min(WIDTH, size - number * WIDTH))
        old, size, level = old // WIDTH, size // WIDTH, level + 1


def encode_entries(bodies: Iterable[bytes]) -> bytes:
    """An entry bundle: each body after its length in two bytes, big end first.

    Raises ``ValueError`` for a body of 64 KiB or more, which the format cannot hold.
    """
    parts = []
    for number, body in enumerate(bodies):
        if len(body) > MOST_BYTES:
            raise ValueError(f"entry {number} has {len(body)} bytes, more than the {MOST_BYTES} of a bundle")
        parts += [struct.pack(">H", len(body)), body]
    return b"".join(parts)


def decode_entries(data: bytes) -> list[bytes]:
    """The bodies of a bundle; raises ``IntegrityError`` for one that is cut off."""
    bodies: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[start - 2 : start], "big")
        if at > len(data):
            raise IntegrityError(f"the entry bundle is cut off in entry {len(bodies)}; read it again")
        bodies.append(data[start:at])
    return bodies


class TiledSubtrees:
    """Serves ``merkle.Subtree`` from tiles, each read once for many proofs."""

    def __init__(self, hashes: HashesAt) -> None:
        self._hashes = hashes
        self._rows = lru_cache(_KEPT)(self._read)

    def subtree(self, level: int, n: int) -> bytes:
        """The root of the perfect subtree of 2**level leaves, number ``n``, counted from 0.

        Raises ``IntegrityError`` where the tiles do not reach that far.
        """
        tile, within = divmod(level, _HEIGHT)
        number, at = divmod(n, WIDTH >> within)
        if at >= len(self._row(tile, number, within)):
            self._rows.cache_clear()  # a tile may have grown since it was read
        row = self._row(tile, number, within)
        if at >= len(row):
            first = n << level
            raise IntegrityError(
                f"tile {number} of level {tile} of the audit log lacks hashes for the events from {first}"
                f" to {first + (1 << level) - 1}; run 'fwd2bot audit verify' to learn what is missing"
            )
        return row[at]

    def _row(self, level: int, number: int, within: int) -> list[bytes]:
        return self._rows(level, number)[within]

    def _read(self, level: int, number: int) -> list[list[bytes]]:
        """The tile's own hashes, then the roots over each complete 2, 4, ... 128 of them."""
        rows = [self._hashes(level, number)]
        for _ in range(_HEIGHT - 1):
            below = rows[-1]
            rows.append([node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)])
        return rows


class SubtreeFromTiles(TiledSubtrees):
    """The subtrees of a tree of ``size`` leaves whose tiles ``read`` gets by their paths.

    ``read`` raises ``ObjectMissing`` for a path that is not there. Nothing read is believed: only a proof
    that verifies against a signed root shows that the tiles were right.
    """

    def __init__(self, read: Callable[[str], bytes], size: int) -> None:
        super().__init__(self._of)
        self._bytes = read
        self.size = size

    def _of(self, level: int, number: int) -> list[bytes]:
        width = min(WIDTH, (self.size >> _HEIGHT * level) - number * WIDTH)
        if width <= 0:
            return []
        data = self._data(level, number, width)
        return [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]

    def _data(self, level: int, number: int, width: int) -> bytes:
        path, there = tile_path(level, number, width), width
        try:
            data = self._bytes(path)
        except ObjectMissing:
            if width == WIDTH:
                raise
            path, there = tile_path(level, number), WIDTH  # a log may drop a partial tile once it is full
            data = self._bytes(path)
        if len(data) != there * HASH_BYTES:
            raise IntegrityError(f"{path} has {len(data)} bytes, not the {there * HASH_BYTES} of its hashes")
        return data

"""Small integers as bits, the frequent ones short: a fixed prefix code, as in JPEG.

The words, shortest first, stand for 0, -1, 1, -2, 2, ...; the last one announces 16 bits that hold any other
integer. Knows integers and bits. Knows nothing about what the integers mean.

Source: canonical codes as in ITU-T T.81 (JPEG), annex C, which lists how many words of each length there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fwd2bot_core.errors import IntegrityError

LARGEST = 2**15 - 1  # that can be coded
_RAW = 16  # bits after the word that announces them; also the longest word that reading looks for


@dataclass(frozen=True)
class PrefixCode:
    """``counts[i]`` words have i + 1 bits; together they leave no bit pattern unused."""

    counts: tuple[int, ...]

    @cached_property
    def words(self) -> dict[str, int | None]:
        """Each word, as a text of 0 and 1, and its integer; None announces raw bits."""
        found: dict[str, int | None] = {}
        word = 0
        for length, count in enumerate(self.counts, start=1):
            word <<= 1
            for _ in range(count):
                found[f"{word:0{length}b}"] = _integer(len(found))
                word += 1
        found[next(reversed(found))] = None
        return found

    def bits(self, integers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many bits each integer in -32767..32767 needs."""
        return self._lengths[integers + LARGEST]

    def write(self, integers: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
        """[B, n] integers as [B, size] bytes: words from the highest bit on, then zeros.

        ``size`` must hold the rows' ``bits``.
        """
        words, lengths = self._words[integers + LARGEST], self.bits(integers)
        ends = lengths.cumsum(axis=1) + 8 * size * np.arange(len(integers))[:, None]
        starts, words, lengths = (ends - lengths).ravel(), words.ravel(), lengths.ravel()
        out = np.zeros(8 * size * len(integers), np.uint8)
        for bit in range(int(lengths.max(initial=0))):  # the first bit of every word, then the second, ...
            some = np.flatnonzero(lengths > bit)
            out[starts[some] + bit] = (words[some] >> (lengths[some] - 1 - bit)) & 1
        return np.packbits(out).reshape(len(integers), size)

    def read(self, data: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int64]:
        """``count`` integers from one row's bytes; raises ``IntegrityError`` if they do not fill it as written."""
        ahead = _windows(data)
        jump = self._jumps[ahead].tobytes()
        starts, at = [], 0
        try:
            for _ in range(count):
                starts.append(at)
                at += jump[at]
        except IndexError:
            at = len(ahead) + 1
        if at > len(ahead) or ahead[at:].any():
            raise IntegrityError("the bits of a row do not end where they should: it is damaged")
        places = np.array(starts, np.intp)
        integers = self._integers[ahead[places]]
        raw = np.flatnonzero(integers > LARGEST)
        after = places[raw] + len(next(reversed(self.words)))
        integers[raw] = ahead[after].view(np.int16)
        return integers

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        lengths = np.full(2 * LARGEST + 1, len(next(reversed(self.words))) + _RAW, np.int64)
        for word, integer in self.words.items():
            if integer is not None:
                lengths[integer + LARGEST] = len(word)
        return lengths

    @cached_property
    def _words(self) -> npt.NDArray[np.int64]:
        """By integer + LARGEST; with the raw bits behind the word that announces them."""
        escape = int(next(reversed(self.words)), 2) << _RAW
        words = escape + (np.arange(-LARGEST, LARGEST + 1) & 0xFFFF)
        for word, integer in self.words.items():
            if integer is not None:
                words[integer + LARGEST] = int(word, 2)
        return words

    @cached_property
    def _integers(self) -> npt.NDArray[np.int64]:
        """By the next 16 bits; LARGEST + 1 where raw bits follow."""
        return self._by_window([LARGEST + 1 if n is None else n for n in self.words.values()])

    @cached_property
    def _jumps(self) -> npt.NDArray[np.uint8]:
        """By the next 16 bits: how far it is to the next word."""
        jumps = [len(word) + (_RAW if n is None else 0) for word, n in self.words.items()]
        return self._by_window(jumps).astype(np.uint8)

    def _by_window(self, values: Sequence[int]) -> npt.NDArray[np.int64]:
        spans = [1 << (_RAW - len(word)) for word in self.words]
        return np.repeat(np.array(values, np.int64), spans)


def _integer(place: int) -> int:
    """0, -1, 1, -2, 2, ..."""
    return -(place // 2 + 1) if place % 2 else place // 2


def _windows(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """The 16 bits from each bit on; behind the end there are zeros."""
    padded = np.concatenate([data, np.zeros(3, np.uint8)]).astype(np.uint32)
    ahead = (padded[:-3] << 24) | (padded[1:-2] << 16) | (padded[2:-1] << 8) | padded[3:]
    bits = (ahead[:, None] << np.arange(8, dtype=np.uint32)) >> 16
    return np.asarray(bits, dtype=np.uint16).reshape(-1)

"""Two ways to store k x d numbers in fewer bits than the model used: ``Int8`` and ``FixedRate``.

Both round to multiples of a step, so no number is off by more than half a step. Knows float32 and bytes;
knows nothing about dtypes, Arrow or files.

The same numbers give the same bytes on every machine, and the same bytes the same numbers: all arithmetic is
elementwise in float64 (division, multiplication, rounding to even), which IEEE 754 defines bit by bit; maxima
depend on no order, sums are of integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.prefix_code import LARGEST, PrefixCode

Bytes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]
_HALF = 0.5 + 2**-36  # of a step, and what the division by it rounds
_LOST = 128 * 2.0**-149  # where a float32 step is so small that it is rounded itself
_HEADER = 2  # bytes of the step
_LEAST = -290  # the smallest step is 2 ** (7 - 290), far below float32's smallest number


@dataclass(frozen=True)
class Int8:
    """One byte a number and a float32 step a token: its largest number / 127."""

    name: str = "int8"
    layout: str = (
        "k little-endian float32 steps, then k*d int8 integers, row-major [k, d]; a number is its integer "
        "times the step of its token"
    )

    @property
    def words(self) -> None:
        """It has no prefix code."""

    def row_bytes(self, k: int, d: int) -> int:
        return k * (4 + d)

    def encode(self, numbers: npt.NDArray[np.float32]) -> Bytes:
        """[B, k, d] as [B, k * (4 + d)]."""
        largest = np.abs(numbers).max(axis=2, keepdims=True)
        steps = (largest.astype(np.float64) / 127).astype("<f4")  # [B, k, 1]
        safe = np.where(steps > 0, steps, 1).astype(np.float64)
        integers = np.clip(np.rint(numbers / safe), -127, 127).astype(np.int8)
        count, k, d = numbers.shape
        rows = np.empty((count, self.row_bytes(k, d)), np.uint8)
        rows[:, : 4 * k] = steps[:, :, 0].view(np.uint8)
        rows[:, 4 * k :] = integers.reshape(count, k * d).view(np.uint8)
        return rows

    def decode(self, rows: Bytes, k: int, d: int) -> Doubles:
        """[B, k * (4 + d)] as [B, k, d]; raises ``IntegrityError`` for a step that cannot be one."""
        integers = rows[:, 4 * k :].view(np.int8).reshape(len(rows), k, d)
        return integers * self._steps(rows, k)[:, :, None]

    def worst_error(self, rows: Bytes, k: int) -> Doubles:
        """[B]: no number of a row is farther than this from what was encoded (before rounding to the dtype)."""
        return np.asarray(self._steps(rows, k).max(axis=1) * _HALF + _LOST)

    def _steps(self, rows: Bytes, k: int) -> Doubles:
        steps = np.ascontiguousarray(rows[:, : 4 * k]).view("<f4")  # [B, k]
        if not (np.isfinite(steps) & (steps >= 0)).all():
            raise IntegrityError("the step of a token is no number that a step can be: it is damaged")
        return np.asarray(steps, dtype=np.float64)


@dataclass(frozen=True)
class FixedRate:
    """Exactly ``rate`` bits a number, all included: the finest step whose prefix code fits the row.

    One step an image. Entropy-coded uniform steps lie 1.5 dB from the bound of any code at high rates (Gish and
    Pierce, 1968), Lloyd-Max levels at 4 bits lie 3.9 dB from it; a row of fixed length turns what a quiet image
    saves into a finer step. Heavy tails gain from it, so no rotation has to spread them.
    """

    name: str
    rate: int  # bits a number
    code: PrefixCode

    @property
    def layout(self) -> str:
        return (
            "a big-endian uint16 s, then bits from the highest of each byte on: k*d words of the prefix code "
            "fwd2bot.code, row-major [k, d], then zeros. Each word stands for an integer; null says that the next "
            "16 bits are one (two's complement). A number is its integer times the step "
            f"(128 + s % 128) * 2.0 ** (s // 128 - {-_LEAST})"
        )

    @property
    def words(self) -> dict[str, int | None]:
        return self.code.words

    def row_bytes(self, k: int, d: int) -> int:
        """``rate`` bits for each of k * d numbers; more only where so few leave no place for the step."""
        shortest = int(self.code.bits(np.zeros(1, np.int64))[0])
        return max(-(-k * d * self.rate // 8), _HEADER + -(-k * d * shortest // 8))

    def encode(self, numbers: npt.NDArray[np.float32]) -> Bytes:
        """[B, k, d] as [B, row_bytes]."""
        count, k, d = numbers.shape
        flat, size = numbers.reshape(count, k * d).astype(np.float64), self.row_bytes(k, d) - _HEADER
        steps = self._finest(flat, 8 * size)
        words = self.code.write(_integers(flat, steps), size)
        return np.concatenate([steps.astype(">u2")[:, None].view(np.uint8), words], axis=1)

    def decode(self, rows: Bytes, k: int, d: int) -> Doubles:
        """[B, row_bytes] as [B, k, d]; raises ``IntegrityError`` for bits that do not fill a row as written."""
        read = [self.code.read(row[_HEADER:], k * d) for row in rows]
        integers = np.array(read, np.float64).reshape(len(rows), k, d)
        return integers * self._steps(rows)[:, None, None]

    def worst_error(self, rows: Bytes, k: int) -> Doubles:
        """[B]: no number of a row is farther than this from what was encoded (before rounding to the dtype)."""
        return self._steps(rows) * _HALF

    def _steps(self, rows: Bytes) -> Doubles:
        return np.asarray(_all_steps()[rows[:, 0].astype(np.intp) << 8 | rows[:, 1]])

    def _finest(self, flat: Doubles, room: int) -> npt.NDArray[np.intp]:
        """[B] numbers of the smallest steps found with which a row takes at most ``room`` bits."""
        largest, steps = np.abs(flat).max(axis=1), _all_steps()
        low = np.searchsorted(steps, largest / LARGEST)  # the first that codes the largest number
        high = np.searchsorted(steps, largest * 2)  # makes every number 0, which always fits
        while (low < high).any():
            middle = (low + high) // 2
            fits = self.code.bits(_integers(flat, middle)).sum(axis=1) <= room
            low, high = np.where(fits | (low >= high), low, middle + 1), np.where(fits, middle, high)
        return np.asarray(high, dtype=np.intp)


def _integers(flat: Doubles, steps: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    return np.rint(flat / _all_steps()[steps][:, None]).astype(np.int64)


@cache
def _all_steps() -> Doubles:
    """The 65,536 steps, growing by less than 1 % each, each exact: eight bits of mantissa, nine of exponent."""
    number = np.arange(1 << 16)
    return np.ldexp((128 + number % 128).astype(np.float64), number // 128 + _LEAST)


BITS4 = FixedRate("bits4", 4, PrefixCode((0, 0, 4, 5, 3, 3, 4, 2, 2, 2, 3, 2)))
BITS3 = FixedRate("bits3", 3, PrefixCode((0, 2, 3, 0, 3, 1, 0, 2, 2, 3, 2)))
BITS2 = FixedRate("bits2", 2, PrefixCode((1, 1, 1, 1, 1, 1, 1, 0, 3, 2)))

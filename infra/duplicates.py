"""Equal bytes pass the model once a batch: their copies get the same numbers, each as a row of its own.

A row of its own, and no reference to another's, so that erasing or dropping one image says nothing about any other, and
readers of the Parquet files find every key. Only images as large as another one of the batch can be copies, so only
their numbers are kept in memory. Knows nothing of stores or shards, nor of what other batches hold: fetching a row from
there takes about as long as a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.protocol import Summary
from fwd2bot_core.work import Unit
from infra.first_pass import Passed
from infra.reading import Fetched

MOST = 64 * 1024**2  # bytes of numbers that are kept
_Numbers = tuple[npt.NDArray[Any], npt.NDArray[np.float32]]  # tokens [k, d], pooled [d]


def side_by_side(units: Sequence[Unit]) -> list[Unit]:
    """The same units, each right behind the first one of its size; otherwise in their order. Equal bytes then mostly
    share a batch, as far as the units reach."""
    places: dict[int, int] = {}
    for place, unit in enumerate(units):
        places.setdefault(unit.size, place)
    return sorted(units, key=lambda unit: places[unit.size])


class OncePerContent:
    """A first pass that leaves out what the batch has passed already. For one batch of ``units``."""

    def __init__(self, first_pass: Callable[[list[Fetched]], Passed], units: Sequence[Unit]) -> None:
        counted = Counter(unit.size for unit in units)
        self._first_pass = first_pass
        self._sizes = frozenset(size for size, number in counted.items() if number > 1)
        self.copied = 0  # images that needed no pass
        self._known: dict[str, _Numbers] = {}
        self._held = 0  # bytes of numbers

    def __call__(self, group: list[Fetched]) -> Passed:
        """Every image of ``group`` once, copies last. A copy of what could not be compressed has its own try."""
        first, copies = self._parted(group)
        passed = self._first_pass(first) if first else []
        self._remember(passed)
        again = [item for item in copies if item.sha256 not in self._known]
        if again:
            passed = passed + self._first_pass(again)
        if known := [item for item in copies if item.sha256 in self._known]:
            self.copied += len(known)
            passed = [*passed, (known, self._summary(known))]
        return passed

    def _parted(self, group: list[Fetched]) -> tuple[list[Fetched], list[Fetched]]:
        """Those that show something new, and copies of them or of earlier ones."""
        first, copies, here = list[Fetched](), list[Fetched](), set[str]()
        for item in group:
            twin = item.size in self._sizes and item.sha256 is not None
            if twin and (item.sha256 in self._known or item.sha256 in here):
                copies.append(item)
                continue
            first.append(item)
            if twin and item.sha256 is not None:
                here.add(item.sha256)
        return first, copies

    def _remember(self, passed: Passed) -> None:
        for items, result in passed:
            if not isinstance(result, Summary):
                continue
            for at, item in enumerate(items):
                if item.size in self._sizes and item.sha256 is not None:
                    self._keep(item.sha256, (result.tokens[at].copy(), result.pooled[at].copy()))

    def _keep(self, sha256: str, numbers: _Numbers) -> None:
        """Forgets the oldest where all images are of one size, as uncompressed ones are."""
        self._known[sha256] = numbers
        self._held += sum(each.nbytes for each in numbers)
        while self._held > MOST and len(self._known) > 1:
            self._held -= sum(each.nbytes for each in self._known.pop(next(iter(self._known))))

    def _summary(self, items: list[Fetched]) -> Summary:
        numbers = [self._known[item.sha256] for item in items if item.sha256 is not None]
        return Summary(
            np.stack([tokens for tokens, _ in numbers]), np.stack([pooled for _, pooled in numbers])
        )

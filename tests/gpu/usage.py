"""How busy a GPU is while something runs: NVIDIA's own counters, read ten times a second by a thread.

Knows one card's counters. Knows nothing of what runs on it.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

import numpy as np

EVERY = 0.1  # seconds; the counter itself is a mean over the last sixth of a second or so


class Usage:
    """``with Usage() as usage: ...``; without a driver it finds nothing and says None."""

    def __init__(self, card: int = 0) -> None:
        self._card = card
        self._busy: list[float] = []  # per cent of the time in which a kernel ran
        self._memory = 0.0  # bytes in use at most, of all programs
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def forget(self) -> None:
        """What was seen so far was not yet what is to be measured."""
        self._busy.clear()

    def told(self) -> dict[str, float | None]:
        """Use of the card in per cent of the time, mean and 90th percentile, and its memory's peak in MiB."""
        seen = np.array(self._busy)
        return {
            "gpu_busy": round(float(seen.mean()), 1) if seen.size else None,
            "gpu_busy_p90": round(float(np.percentile(seen, 90)), 1) if seen.size else None,
            "gpu_memory_mib": round(self._memory / 2**20) if seen.size else None,
        }

    def _watch(self) -> None:
        driver = _driver()
        if driver is None:
            return
        card = driver.nvmlDeviceGetHandleByIndex(self._card)
        while not self._over.wait(EVERY):
            self._busy.append(float(driver.nvmlDeviceGetUtilizationRates(card).gpu))
            self._memory = max(self._memory, float(driver.nvmlDeviceGetMemoryInfo(card).used))


def _driver() -> Any:
    """NVIDIA's library, ready; None where it or the driver is missing."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml

"""Processor time of a night: what it costs, whatever else the machine does meanwhile.

Knows this process and its children, which are the workers. Knows nothing about what they do.
"""

from __future__ import annotations

import psutil

from flows.screens import SilentScreen


class Meter(SilentScreen):
    """A silent screen that reads the clocks when compression starts and at each commit."""

    def __init__(self) -> None:
        self._begun = self._now = 0.0

    @property
    def seconds(self) -> float:
        """Of driver and workers together, from the workers being up to the last commit."""
        return self._now - self._begun

    def starting(self, what: str) -> None:
        if what == "compression":
            self._begun = _spent()

    def advanced(self, images: int) -> None:
        self._now = _spent()


def _spent() -> float:
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children())]
    return sum(one.user + one.system for one in times)

"""Several ways to do one thing, timed in turns, so that a busy machine slows all of them alike.

Knows clocks. Knows nothing of what is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

FEWEST = 3  # rounds
PATIENCE = 45.0  # seconds for all rounds of one row
Seconds = dict[str, list[float]]  # of each way in each round


def idle() -> None:
    """There is no device to wait for."""


def in_turns(
    ways: Mapping[str, Callable[[], object]], rounds: int, *, settle: Callable[[], object] = idle
) -> Seconds:
    """Wall seconds of every way in each of ``rounds`` rounds, each way after one call that does not count.

    Odd rounds go through the ways backwards. ``settle`` waits for a device to finish what it was given. On a machine
    so slow that ``PATIENCE`` is over before, there are fewer rounds, at least ``FEWEST``.
    """
    taken: Seconds = {name: [] for name in ways}
    for way in ways.values():
        way()
    started = time.perf_counter()
    for turn in range(rounds):
        if turn >= FEWEST and time.perf_counter() - started > PATIENCE:
            break
        for name in list(ways) if turn % 2 == 0 else reversed(ways):
            settle()
            began = time.perf_counter()
            ways[name]()
            settle()
            taken[name].append(time.perf_counter() - began)
    return taken


def milliseconds(seconds: list[float]) -> float:
    """The median, rounded."""
    return round(1e3 * statistics.median(seconds), 3)


def times_faster(taken: Seconds, slow: str, fast: str) -> float:
    """How many times faster: the median over rounds of the ratio within one round."""
    return round(statistics.median(a / b for a, b in zip(taken[slow], taken[fast], strict=True)), 3)

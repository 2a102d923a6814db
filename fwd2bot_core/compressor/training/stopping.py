"""Ctrl-C and a scheduler's SIGTERM as a wish that is granted between two steps.

A second one is an order: it interrupts at once, and only the last checkpoint stays. Knows signals alone.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Stop:
    asked: bool = False


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Signals set ``asked`` while inside; outside the main thread, where none arrive, nothing ever does."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

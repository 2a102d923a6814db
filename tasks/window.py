"""May a run take on another batch now? By a window of the day, such as ``night.window``.

What has begun is finished; what has not stays planned, and is taken up by a later run. Knows nothing about batches.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from fwd2bot_core.window import Window
from infra import audit_log


def taking(
    window: str | None, zone: str, *, now: Callable[[], datetime] = audit_log.now
) -> Callable[[], bool]:
    """A question to be asked before each batch. Without a window the answer is always yes."""
    if window is None:
        return lambda: True
    hours = Window.parse(window)
    return lambda: hours.is_open(now(), zone)


def closed(window: str | None, zone: str, *, now: Callable[[], datetime] = audit_log.now) -> str | None:
    """Why nothing more is taken on now, in half a sentence; None while something may be."""
    if window is None or taking(window, zone, now=now)():
        return None
    opens = Window.parse(window).opens_next(now(), zone)
    return f"outside of {window} {zone}, which opens at {opens:%Y-%m-%d %H:%M}"

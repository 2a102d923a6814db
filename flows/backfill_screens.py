"""How a backfill shows itself: a bar or lines while it works, its progress as a table. Nothing here decides."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console

from flows.figures import show_facts
from flows.screens import LINE_EVERY, timed_bar
from tasks.backfill_plan import Slice
from tasks.backfill_progress import Progress
from tasks.backfill_turn import Turn
from tasks.units import duration, size, visible


class BackfillScreen:
    """A bar on a terminal, lines on a pipe, nothing if ``silent``. Use as a context."""

    def __init__(self, console: Console, *, silent: bool = False) -> None:
        self._console, self._silent = console, silent
        self._bar = timed_bar(console, shown=console.is_terminal and not silent)
        self._task = self._bar.add_task("backfill", total=None)
        self._done, self._said, self._waits = 0, 0.0, ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def sliced(self, planned: Slice) -> None:
        self._bar.update(self._task, description="planning", completed=planned.images)
        self._line(f"planned {planned.images:,} images, {planned.claimed:,} claimed")

    def starting(self, what: str) -> None:
        self._bar.update(self._task, description=f"starting {what}")
        self._line(f"starting {what}", now=True)

    def advanced(self, images: int) -> None:
        self._done += images
        self._bar.update(self._task, description="compressing", completed=self._done)
        self._line(f"{self._done:,} images")

    def waiting(self, why: str) -> None:
        self._bar.update(self._task, description=f"waits: {why}")
        if why != self._waits:
            self._waits = why
            self._line(f"waits: {why}", now=True)

    def turned(self, turn: Turn) -> None:
        self._waits = ""
        self._line(turn.message, now=True)

    def _line(self, text: str, *, now: bool = False) -> None:
        if self._silent or self._console.is_terminal:
            return
        if now or time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            self._console.print(visible(text), highlight=False, markup=False)


class BackfillLog:
    """Lines for a log."""

    def __init__(self, logger: Any = None) -> None:
        self._log = logger or logging.getLogger("fwd2bot")
        self._done, self._said, self._waits = 0, 0.0, ""

    def sliced(self, planned: Slice) -> None:
        self._log.info("planned %d images, %d claimed", planned.images, planned.claimed)

    def starting(self, what: str) -> None:
        self._log.info("starting %s", what)

    def advanced(self, images: int) -> None:
        self._done += images
        if time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            self._log.info("%d images", self._done)

    def waiting(self, why: str) -> None:
        if why != self._waits:
            self._waits = why
            self._log.info("waits: %s", why)

    def turned(self, turn: Turn) -> None:
        self._waits = ""
        self._log.info("%s", turn.message)


def show_forecast(console: Console, seen: dict[str, Any]) -> None:
    """What a backfill would do."""
    seconds, rate = seen["seconds"], seen["seconds_from"]
    show_facts(
        console,
        {
            "collection": seen["collection"],
            "what": seen["scope"],
            "in the archive": f"{seen['images']:,} images, {size(seen['bytes'])}",
            "compressed already": seen["compressed"],
            "rejected already": seen["rejected"],
            "a night's or another backfill's": seen["claimed"],
            "left to this backfill": f"{seen['to_claim']:,} images, {size(seen['to_claim_bytes'])}",
            "keys that the store does not have": seen["missing"],
            "to be stored": f"{size(seen['stored_bytes'])} ({seen['stored_from']})",
            "time at work": rate if seconds is None else f"{duration(seconds)} ({rate})",
        },
    )


def show_progress(console: Console, found: Sequence[Progress]) -> None:
    """Each backfill by itself."""
    if not found:
        console.print("no backfill yet; `fwd2bot backfill plan` shows what one would do")
    for number, each in enumerate(found):
        if number:
            console.print()
        show_facts(console, _facts(each))


def _facts(each: Progress) -> dict[str, Any]:
    used = each.used
    facts: dict[str, Any] = {
        "backfill": f"{each.id} of {each.collection}: {each.scope}",
        "state": each.state if each.planned else f"{each.state}, not planned to its end",
        "images": f"{each.images:,} in {each.slices:,} slices, {size(each.bytes)}",
        "compressed": each.compressed,
        "rejected": _with_reasons(each),
        "left": f"{each.left:,} ({100 * each.share:.1f} % are done)",
        "still, at work": _rest(each),
        "used": f"{used.images:,} images, {size(used.bytes)}, {duration(used.seconds)} at work",
    }
    if each.by_others:
        facts["by a night or an earlier backfill"] = each.by_others
    if each.note:
        facts["it says"] = each.note
    return facts


def _with_reasons(each: Progress) -> str:
    reasons = ", ".join(f"{why} {number:,}" for why, number in each.reasons.items())
    return f"{each.rejected:,} ({reasons})" if reasons else f"{each.rejected:,}"


def _rest(each: Progress) -> str:
    told = each.forecast
    if not each.left:
        return "nothing"
    if told is None:
        return "not known before some batches are done"
    return f"{duration(told.likely)}; between {duration(told.shortest)} and {duration(told.longest)}"

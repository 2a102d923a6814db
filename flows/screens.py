"""How a run shows its progress: a bar on a terminal, plain lines in a log or a pipe, nothing for ``--json``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tasks.discover import Discovery
from tasks.plan import Plan
from tasks.summary import NightSummary

LINE_EVERY = 10.0  # seconds between lines where no bar can be drawn


class SilentScreen:
    """Nobody watches."""

    def discovered(self, found: Discovery) -> None: ...
    def planned(self, plan: Plan) -> None: ...
    def starting(self, what: str) -> None: ...
    def advanced(self, images: int) -> None: ...
    def finished(self, summary: NightSummary) -> None: ...
    def stop(self) -> None: ...


class LogScreen:
    """Lines for a log, at most one each ten seconds while images pass."""

    def __init__(self, logger: Any = None) -> None:
        self._log = logger or logging.getLogger("fwd2bot")
        self._done = self._total = 0
        self._said = 0.0

    def discovered(self, found: Discovery) -> None:
        if self._due():
            self._log.info("listed %d images, %d new", found.listed, found.new)

    def planned(self, plan: Plan) -> None:
        self._total = plan.images
        self._log.info(
            "planned %d images in %d batches (%d resumed)", plan.images, plan.batches, plan.resumed
        )

    def starting(self, what: str) -> None:
        self._log.info("starting %s", what)

    def advanced(self, images: int) -> None:
        self._done += images
        if self._due() or self._done == self._total:
            self._log.info("%d of %d images", self._done, self._total)

    def finished(self, summary: NightSummary) -> None:
        self._log.info("%s", summary.message)

    def _due(self) -> bool:
        due = time.monotonic() - self._said >= LINE_EVERY
        if due:
            self._said = time.monotonic()
        return due


@contextmanager
def counting(console: Console, what: str, silent: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (done, in all)."""
    if silent or not console.is_terminal:
        yield lambda done, total: None
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def timed_bar(console: Console, *, shown: bool = True) -> Progress:
    """What is done, how much of it, how long it took and how long it still takes."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
    )


class TerminalScreen:
    """A progress bar on a terminal; on a pipe the same facts as lines."""

    def __init__(self, console: Console) -> None:
        self._bar = timed_bar(console, shown=console.is_terminal)
        self._task = self._bar.add_task("listing", total=None)
        self._lines = None if console.is_terminal else _ConsoleLines(console)

    def discovered(self, found: Discovery) -> None:
        self._bar.start()
        self._bar.update(
            self._task, description=f"listed {found.listed:,}, {found.new:,} new", completed=found.listed
        )
        if self._lines:
            self._lines.discovered(found)

    def planned(self, plan: Plan) -> None:
        self._bar.update(self._task, completed=0, total=plan.images, description="planned")
        if self._lines:
            self._lines.planned(plan)

    def starting(self, what: str) -> None:
        self._bar.start()
        self._bar.update(
            self._task, description=f"starting {what}" if what != "compression" else "compressing"
        )
        if self._lines:
            self._lines.starting(what)

    def advanced(self, images: int) -> None:
        self._bar.advance(self._task, images)
        if self._lines:
            self._lines.advanced(images)

    def finished(self, summary: NightSummary) -> None:
        self._bar.stop()

    def stop(self) -> None:
        """Leave the terminal as it was, also after an error."""
        self._bar.stop()


class _ConsoleLines(LogScreen):
    """A log whose lines go to the console as they are."""

    def __init__(self, console: Console) -> None:
        super().__init__(_Printer(console))


class _Printer:
    def __init__(self, console: Console) -> None:
        self._console = console

    def info(self, text: str, *values: object) -> None:
        self._console.print(text % values, highlight=False)

"""How a training shows itself: a bar with its losses on a terminal, lines in a log or a pipe, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from flows.screens import timed_bar
from fwd2bot_core.compressor.training.loop import Progress as Steps
from fwd2bot_core.compressor.training.loop import Recipe
from fwd2bot_core.compressor.training.train import Screen
from tasks.units import visible


@contextmanager
def screen(console: Console, *, silent: bool) -> Iterator[Screen]:
    if silent:
        yield SilentScreen()
    elif console.is_terminal:
        with BarScreen(console) as shown:
            yield shown
    else:
        yield Screen()


class SilentScreen(Screen):
    """Nobody watches."""

    def noted(self, note: str) -> None: ...
    def reported(self, recipe: Recipe, progress: Steps, values: Mapping[str, float]) -> None: ...


class BarScreen(Screen):
    """One bar for the steps, then one for the questions of the held-out data."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = timed_bar(console)
        self._steps = self._bar.add_task("loading", total=None)

    def __enter__(self) -> BarScreen:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def began(self, recipe: Recipe, progress: Steps) -> None:
        goes_on = f"{recipe.name}, going on" if progress.step else recipe.name
        self._bar.update(self._steps, description=goes_on, total=recipe.steps, completed=progress.step)

    def stepped(self, recipe: Recipe, progress: Steps) -> None:
        self._bar.update(self._steps, completed=progress.step)

    def reported(self, recipe: Recipe, progress: Steps, values: Mapping[str, float]) -> None:
        said = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        self._bar.update(self._steps, description=f"{recipe.name}  {said}")

    def noted(self, note: str) -> None:
        self._console.print(f"[yellow]note:[/] {escape(visible(note))}", highlight=False)

    def examined(self, done: int, total: int) -> None:
        self._bar.update(self._steps, description="asking", completed=done, total=total)

"""The numbers that a capacity plan is reckoned with, each with where it comes from.

``figures.json`` is made by ``python -m tests.bench.capacity_figures`` from what the benches measured, with the assumed
ones beside them. Knows nothing about what is done with a number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from fwd2bot_core.errors import UsageError

RATE = "images_a_second."  # with a model's name behind it
MEASURED, ASSUMED, GIVEN = "measured", "assumed", "given"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. ``kind`` is "measured", "assumed" or "given" by whoever asks."""

    name: str
    value: float
    unit: str
    kind: str
    source: str  # which measurement on which machine, or why it is thought to be so

    @property
    def said(self) -> str:
        """For people: the number, and how far it may be believed."""
        return f"{self.value:,.4g} {self.unit} ({self.kind}: {self.source})"


class Figures(Mapping[str, Figure]):
    """Figures by name. One that is missing is an error that says how to give it."""

    def __init__(self, found: Mapping[str, Figure]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> Figure:
        if (figure := self._found.get(name)) is None:
            raise UsageError(
                f"no figure is called {name!r}; there are {', '.join(self._found)} and {RATE}MODEL"
            )
        return figure

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def replaced(self, given: Mapping[str, float]) -> Figures:
        """With some of them as whoever asks knows better. Raises ``UsageError`` for one that nothing is reckoned with,
        or that is not above zero."""
        changed = dict(self._found)
        for name, value in given.items():
            if not (0 < value < float("inf")):
                raise UsageError(f"the figure {name} is to be above zero, and not {value}")
            if name.startswith(RATE) and name not in self:
                changed[name] = Figure(name, value, "images/s", GIVEN, "instead of the card's arithmetic")
                continue
            was = self[name]
            changed[name] = Figure(name, value, was.unit, GIVEN, f"instead of {was.value:,.4g}")
        return Figures(changed)


def shipped() -> Figures:
    """The figures of this release."""
    return parsed(json.loads(files("fwd2bot_core.capacity").joinpath("figures.json").read_text("utf-8")))


def parsed(document: Mapping[str, Mapping[str, Any]]) -> Figures:
    """Figures as JSON has them: name -> value, unit, kind, source."""
    return Figures({name: Figure(name=name, **values) for name, values in document.items()})

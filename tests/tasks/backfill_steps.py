"""Small backfills for tests: begun, planned and worked on in this process, with nobody watching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tasks.backfill_plan
import tasks.backfill_scope
from flows.backfill import Outcome, begin_backfill, work_on
from infra.installation import Installation
from tasks.backfill_plan import Slice
from tasks.backfill_scope import Scope
from tasks.backfill_turn import Turn
from tasks.backfills import Backfill, Budget
from tests.houses import COLLECTION


class Watching:
    """A screen that remembers, and may do something at each word."""

    def __init__(self, at: Callable[[str], None] = lambda _: None) -> None:
        self.said: list[str] = []
        self.images = 0
        self._at = at

    def sliced(self, planned: Slice) -> None:
        self._note(f"sliced {planned.images}")

    def starting(self, what: str) -> None:
        self._note(f"starting {what}")

    def advanced(self, images: int) -> None:
        self.images += images
        self._note(f"advanced {images}")

    def waiting(self, why: str) -> None:
        self._note(f"waiting {why}")

    def turned(self, turn: Turn) -> None:
        self._note(f"turned {turn.compressed}")

    def _note(self, text: str) -> None:
        self.said.append(text)
        self._at(text)


def started(house: Installation, scope: Scope | None = None, **budget: Any) -> Backfill:
    """A backfill that is written down and planned."""
    limits = Budget(**budget)
    return begin_backfill(house.settings, COLLECTION, scope or Scope(), limits, Watching())


def worked(house: Installation, backfill: Backfill | None = None, *, wait: bool = False) -> Outcome:
    """Work on it as far as it goes."""
    return work_on(house.settings, backfill.id if backfill else None, Watching(), wait=wait)


def small_slices(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """A slice holds so many."""
    for module in (tasks.backfill_plan, tasks.backfill_scope):
        monkeypatch.setattr(module, "PAGE", images)

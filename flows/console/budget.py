"""How often somebody may do something in a minute. Bounded in memory, whoever asks. Knows nothing of requests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock

MOST = 10_000  # names that are counted apart in a minute; all later ones count as one


class Budget:
    """``per_minute`` for each name, counted from the first of a minute on."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = per_minute, clock
        self._spent, self._since, self._lock = Counter[str](), clock(), Lock()

    def spend(self, name: str) -> bool:
        """One more; False if that is too many."""
        with self._lock:
            name = self._counted(name)
            self._spent[name] += 1
            return self._spent[name] <= self._most

    def is_spent(self, name: str) -> bool:
        """Whether one more would be too many."""
        with self._lock:
            return self._spent[self._counted(name)] >= self._most

    def _counted(self, name: str) -> str:
        if self._clock() - self._since >= 60:
            self._spent.clear()
            self._since = self._clock()
        return name if name in self._spent or len(self._spent) < MOST else ""

"""The keys of some days, where a collection's keys begin with the day: a listing a day instead of one of everything.

What lies under the key of another day is not seen, which is what sweeps are for. Knows stores and patterns of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from fwd2bot_core.day_keys import day_prefixes
from infra.objects import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True)
class RecentDays:
    """As ``Source``; from ``first`` to ``last``, both whole days of the zone in which keys count."""

    store: ObjectStore
    pattern: str
    first: date
    last: date

    @property
    def uri(self) -> str:
        return self.store.uri

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for day in day_prefixes(self.pattern, self.first, self.last):
            if day.startswith(prefix) or prefix.startswith(day):
                yield from self.store.list(max(day, prefix, key=len))

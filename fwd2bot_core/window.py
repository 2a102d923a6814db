"""Hours of the day in which work may begin, such as 22:00-06:00: by the clock on the wall, whatever summer time does.

Knows clocks and zones. Knows nothing about what is done in those hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from fwd2bot_core.errors import UsageError

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """From ``opens`` until just before ``closes``, every day; over midnight if it closes earlier than it opens, and
    the whole day if both are the same."""

    opens: time
    closes: time

    @classmethod
    def parse(cls, text: str) -> Self:
        """``22:00-06:00``. Raises ``UsageError``."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{text!r} is no window of time; write hours and minutes such as 22:00-06:00")
        first, second, third, fourth = map(int, found.groups())
        return cls(time(first, second), time(third, fourth))

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def is_open(self, at: datetime, zone: str) -> bool:
        """At an aware moment, on the walls of ``zone``. An hour that summer time skips is never there; one that it
        repeats is looked at twice."""
        now = at.astimezone(ZoneInfo(zone)).time()
        if self.opens < self.closes:
            return self.opens <= now < self.closes
        return now >= self.opens or now < self.closes

    def opens_next(self, at: datetime, zone: str) -> datetime:
        """When it opens the next time after an aware moment, in ``zone``; whether it is open now plays no part."""
        day = at.astimezone(ZoneInfo(zone)).date()
        for ahead in range(3):
            found = datetime.combine(day + timedelta(days=ahead), self.opens, ZoneInfo(zone))
            if found.astimezone(UTC) > at:  # two times of one zone would be compared without their offsets
                return found
        raise AssertionError("every day has an opening")

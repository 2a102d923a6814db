"""From a date and a period to the exact moment before which an original must stay; every rounding goes up.

    trigger -> its date in the policy's zone -> cut-off -> plus the period -> midnight there, as a UTC instant

The cut-off is the first day after the day, month or year that the trigger falls into; the period is counted from
there, so no photo stays for less than the whole period. ``not_before`` never falls when the trigger grows, which is
what lets ``latest_trigger`` turn it round, and a database compare plain times.
Knows calendars and clocks that are put back. Knows nothing of policies.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

NEVER = datetime.max.replace(tzinfo=UTC)  # beyond the calendar: such an original stays
PERIOD = r"^P(?=\d)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?$"
ROUNDING = r"^(day|month|calendar_year|fiscal_year:\d\d-\d\d)$"
LONGEST = 500  # years
_PERIOD = re.compile(PERIOD, re.ASCII)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A positive length of calendar time, such as P7Y or P1Y6M."""

    text: str
    months: int  # years included
    days: int  # weeks included

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ``ValueError`` for what is no such period, is not positive, or is longer than 500 years."""
        found = None if text.endswith("\n") else _PERIOD.match(text)
        if found is None:
            raise ValueError(f"{text!r} is no period such as P7Y, P6M, P1Y6M, P8W or P30D")
        years, months, weeks, days = (int(part[:-1]) if part else 0 for part in found.groups())
        period = cls(text, years * 12 + months, weeks * 7 + days)
        if not (period.months or period.days):
            raise ValueError(f"{text!r} is no time at all; a period must be positive")
        if period.most_days > LONGEST * 366:
            raise ValueError(f"{text!r} is longer than {LONGEST} years")
        return period

    def __str__(self) -> str:
        return self.text

    @property
    def least_days(self) -> int:
        """No sum with a date is fewer days away: the shortest year has 365 days, the shortest month 28."""
        return self.months // 12 * 365 + self.months % 12 * 28 + self.days

    @property
    def most_days(self) -> int:
        """No sum with a date is more days away."""
        return -(-self.months // 12) * 366 + self.days

    def after(self, day: date) -> date:
        """The same day of a later month, or the first of the next where that month has no such day; then the days.

        29 February + P1Y is 1 March, 31 January + P1M is 1 March. Raises ``OverflowError`` after the year 9999.
        """
        year, month = divmod(day.year * 12 + day.month - 1 + self.months, 12)
        if year > date.max.year:
            raise OverflowError(f"{day} + {self} is beyond the calendar")
        missing = day.day > monthrange(year, month + 1)[1]
        same = _next_month(date(year, month + 1, 1)) if missing else date(year, month + 1, day.day)
        return same + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Rounding:
    """Where a period begins: after the day, month, calendar year or fiscal year of its trigger."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ``ValueError`` for an unknown one, and for a fiscal year that does not begin on the same date each
        year (29 February)."""
        if not re.fullmatch(ROUNDING[1:-1], text, re.ASCII):
            raise ValueError(
                f"{text!r} is no rounding: use day, month, calendar_year or fiscal_year:MM-DD, its first day"
            )
        if text.startswith("fiscal"):
            date(2001, *_month_day(text))  # refuses what is no date of every year
        return cls(text)

    def __str__(self) -> str:
        return self.text

    def cut_off(self, day: date) -> date:
        """The first day after the day, month or year in which ``day`` lies; ``OverflowError`` after the year 9999."""
        if self.text == "day":
            return day + timedelta(days=1)
        if self.text == "month":
            return _next_month(day)
        month, first = (1, 1) if self.text == "calendar_year" else _month_day(self.text)
        begins = date(day.year, month, first)
        return begins if day < begins else _in_year(day.year + 1, month, first)


def not_before(trigger: datetime, period: Period, rounding: Rounding, zone: ZoneInfo) -> datetime:
    """The UTC instant before which an original with this (aware) trigger must stay; ``NEVER`` beyond the calendar."""
    try:
        return midnight(period.after(rounding.cut_off(_date_shown(trigger, zone))), zone)
    except OverflowError:
        return NEVER


def latest_trigger(now: datetime, period: Period, rounding: Rounding, zone: ZoneInfo) -> datetime | None:
    """The greatest trigger, to the microsecond, whose ``not_before`` is reached at ``now``; None if there is none."""
    low, high = datetime(2, 1, 1, tzinfo=UTC), now.astimezone(UTC)  # periods are positive: never at ``now``
    if not_before(low, period, rounding, zone) > now:
        return None
    while high - low > _MICROSECOND:
        middle = low + (high - low) // 2
        if not_before(middle, period, rounding, zone) <= now:
            low = middle
        else:
            high = middle
    return low


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When ``day`` begins in ``zone``, in UTC: where clocks show midnight twice or skip it, the later reading."""
    naive = datetime(day.year, day.month, day.day)
    return max(naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _date_shown(moment: datetime, zone: ZoneInfo) -> date:
    """The latest date that clocks in ``zone`` have shown by ``moment``.

    That is not always today's: clocks that are put back over midnight show yesterday again, and a photo taken then
    must not go earlier than one taken before it.
    """
    local = moment.astimezone(zone)
    if not local.fold:
        return local.date()
    now_behind = _offset(moment, zone)
    low, high = moment - (_offset(local.replace(fold=0), zone) - now_behind), moment
    while high - low > _MICROSECOND:  # to the last moment before they were put back
        middle = low + (high - low) // 2
        if _offset(middle, zone) > now_behind:
            low = middle
        else:
            high = middle
    return max(low.astimezone(zone).date(), local.date())


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _month_day(text: str) -> tuple[int, int]:
    month, day = text.partition(":")[2].split("-")
    return int(month), int(day)


def _next_month(day: date) -> date:
    return _in_year(day.year + day.month // 12, day.month % 12 + 1, 1)


def _in_year(year: int, month: int, day: int) -> date:
    if year > date.max.year:
        raise OverflowError("beyond the calendar")
    return date(year, month, day)

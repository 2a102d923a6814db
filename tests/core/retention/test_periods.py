"""Periods round up, whatever clocks and calendars do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd2bot_core.retention.periods import NEVER, Period, Rounding, latest_trigger, midnight, not_before

TOKYO = ZoneInfo("Asia/Tokyo")
ZONES = sorted(available_timezones())
DAY, MONTH, YEAR = (Rounding.parse(text) for text in ("day", "month", "calendar_year"))
APRIL = Rounding.parse("fiscal_year:04-01")

periods = st.builds(
    lambda parts: "P" + "".join(f"{n}{unit}" for n, unit in zip(parts, "YMWD", strict=True) if n),
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60), st.integers(0, 400)).filter(any),
).map(Period.parse)
roundings = st.sampled_from(["day", "month", "calendar_year", "fiscal_year:04-01", "fiscal_year:12-31"]).map(
    Rounding.parse
)
moments = st.datetimes(datetime(1950, 1, 1), datetime(2080, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    ["", "P", "7Y", "P7", "-P7Y", "P-7Y", "P0D", "P0Y0M", "P1.5Y", "P1M1Y", "PT1H", "P1Y ", "P1Y\n", "p1y",
     "P١Y", "P501Y", "P99999999999D", "P1Y1Y"],
)  # fmt: skip
def test_what_is_no_positive_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"period|longer|positive"):
        Period.parse(text)


@pytest.mark.parametrize(
    ("start", "period", "end"),
    [
        ("2024-02-29", "P1Y", "2025-03-01"),
        ("2024-02-29", "P4Y", "2028-02-29"),
        ("2026-01-31", "P1M", "2026-03-01"),
        ("2024-01-31", "P1M", "2024-03-01"),
        ("2024-01-31", "P1Y1M", "2025-03-01"),
        ("2026-08-31", "P18M", "2028-03-01"),
        ("2026-12-31", "P2M", "2027-03-01"),
        ("2026-11-30", "P1Y2M3W4D", "2028-02-24"),
        ("2026-05-14", "P7Y", "2033-05-14"),
    ],
)
def test_a_day_that_a_month_lacks_becomes_the_first_of_the_next(start: str, period: str, end: str) -> None:
    assert Period.parse(period).after(date.fromisoformat(start)) == date.fromisoformat(end)


@pytest.mark.parametrize(
    "text", ["year", "fiscal_year", "fiscal_year:4-1", "fiscal_year:02-29", "Day", "day\n"]
)
def test_an_unknown_rounding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rounding|day is out of range|must be in"):
        Rounding.parse(text)


@pytest.mark.parametrize(
    ("rounding", "first"),
    [(DAY, "2033-05-15"), (MONTH, "2033-06-01"), (YEAR, "2034-01-01"), (APRIL, "2034-04-01")],
)
def test_a_period_begins_after_what_it_is_rounded_to(rounding: Rounding, first: str) -> None:
    taken = datetime(2026, 5, 14, 23, 59, tzinfo=TOKYO)
    assert not_before(taken, Period.parse("P7Y"), rounding, TOKYO) == datetime.fromisoformat(
        f"{first}T00:00+09:00"
    )


def test_a_photo_taken_before_breakfast_in_japan_is_of_that_day_month_and_fiscal_year_there() -> None:
    taken = datetime(2026, 4, 1, 5, tzinfo=TOKYO)  # in UTC it is still March, and the old fiscal year
    year = Period.parse("P1Y")
    assert not_before(taken, year, APRIL, TOKYO) == datetime(2028, 4, 1, tzinfo=TOKYO)
    assert not_before(taken, year, APRIL, ZoneInfo("UTC")) == datetime(2027, 4, 1, tzinfo=UTC)


def test_the_first_moment_of_a_year_belongs_to_it_and_the_last_of_the_old_one_does_not() -> None:
    first = datetime(2027, 1, 1, tzinfo=TOKYO)
    year = Period.parse("P1Y")
    assert not_before(first, year, YEAR, TOKYO).astimezone(TOKYO).year == 2029
    assert not_before(first - timedelta(microseconds=1), year, YEAR, TOKYO).astimezone(TOKYO).year == 2028


def test_clocks_that_show_yesterday_again_do_not_shorten_a_period() -> None:
    """St. John's put its clocks back at one minute past midnight."""
    zone = ZoneInfo("America/St_Johns")
    before = datetime(
        2006, 10, 29, 2, 30, 30, tzinfo=UTC
    )  # 00:00:30 on the 29th, and after it 23:30 on the 28th
    again = datetime(2006, 10, 29, 3, 0, tzinfo=UTC)
    assert again.astimezone(zone).date() < before.astimezone(zone).date()
    day = Period.parse("P1D")
    assert not_before(again, day, DAY, zone) == not_before(before, day, DAY, zone)


def test_a_midnight_that_clocks_skip_or_show_twice_is_the_later_one() -> None:
    assert midnight(date(2011, 12, 30), ZoneInfo("Pacific/Apia")) == datetime(2011, 12, 30, 10, tzinfo=UTC)
    twice = midnight(date(2024, 11, 3), ZoneInfo("America/Havana"))  # 01:00 becomes 00:00
    assert twice == datetime(2024, 11, 3, 5, tzinfo=UTC)


def test_beyond_the_calendar_is_never() -> None:
    assert not_before(datetime(9998, 12, 31, tzinfo=UTC), Period.parse("P2Y"), DAY, TOKYO) == NEVER
    assert not_before(datetime.max.replace(tzinfo=UTC), Period.parse("P1D"), YEAR, TOKYO) == NEVER


@given(st.dates(date(1900, 1, 1), date(2300, 1, 1)), periods)
def test_days_of_a_period_lie_within_its_bounds(day: date, period: Period) -> None:
    assert period.least_days <= (period.after(day) - day).days <= period.most_days


@settings(max_examples=300, deadline=None)
@given(moments, st.integers(0, 10**11), periods, roundings, st.sampled_from(ZONES))
def test_a_later_trigger_never_goes_earlier(
    trigger: datetime, later: int, period: Period, rounding: Rounding, zone: str
) -> None:
    there = ZoneInfo(zone)
    first = not_before(trigger, period, rounding, there)
    assert first <= not_before(trigger + timedelta(microseconds=later), period, rounding, there)
    assert first - trigger >= timedelta(days=period.least_days) - timedelta(days=1)  # a zone may skip a day


@settings(max_examples=300, deadline=None)
@given(moments, periods, roundings, st.sampled_from(ZONES))
def test_the_latest_trigger_is_exact_to_the_microsecond(
    now: datetime, period: Period, rounding: Rounding, zone: str
) -> None:
    there = ZoneInfo(zone)
    latest = latest_trigger(now, period, rounding, there)
    assert latest is not None
    assert not_before(latest, period, rounding, there) <= now
    assert not_before(latest + timedelta(microseconds=1), period, rounding, there) > now


def test_no_trigger_is_old_enough_for_a_period_longer_than_history() -> None:
    assert latest_trigger(datetime(400, 1, 1, tzinfo=UTC), Period.parse("P499Y"), DAY, TOKYO) is None


def test_every_zone_and_every_hour_around_its_changes_is_monotone() -> None:
    """Each hour and half hour of changes at odd times, in the zones that are known to have had them."""
    day = Period.parse("P1D")
    for name in ("America/St_Johns", "America/Nuuk", "America/Sao_Paulo", "Antarctica/Troll", "Asia/Gaza",
                 "Australia/Lord_Howe", "Pacific/Apia", "America/Scoresbysund", "Asia/Amman"):  # fmt: skip
        zone, last = ZoneInfo(name), datetime.min.replace(tzinfo=UTC)
        for half_hours in range(2 * 24 * 366):
            found = not_before(
                datetime(2006, 1, 1, tzinfo=UTC) + half_hours * timedelta(minutes=30), day, DAY, zone
            )
            assert found >= last
            last = found

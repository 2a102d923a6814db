"""Hours of the day: over midnight, at their edges, and when the clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.errors import UsageError
from fwd2bot_core.window import Window

BERLIN, TOKYO = "Europe/Berlin", "Asia/Tokyo"
NIGHT = Window.parse("22:00-06:00")


def at(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("hours", "moment", "is_open"),
    [
        ("22:00-06:00", "2026-11-25 21:59:59", False),
        ("22:00-06:00", "2026-11-25 22:00", True),
        ("22:00-06:00", "2026-11-26 00:00", True),
        ("22:00-06:00", "2026-11-26 05:59:59", True),
        ("22:00-06:00", "2026-11-26 06:00", False),
        ("01:00-05:00", "2026-11-26 00:59", False),
        ("01:00-05:00", "2026-11-26 04:59", True),
        ("01:00-05:00", "2026-11-26 05:00", False),
        ("00:00-00:00", "2026-11-26 12:00", True),
    ],
)
def test_a_window_opens_with_its_first_minute_and_closes_with_its_last(
    hours: str, moment: str, is_open: bool
) -> None:
    assert Window.parse(hours).is_open(at(moment), BERLIN) is is_open


def test_the_clock_on_the_wall_counts_in_whatever_zone_the_moment_is_given() -> None:
    moment = at("2026-11-25 22:30", TOKYO).astimezone(UTC)
    assert NIGHT.is_open(moment, TOKYO)
    assert not NIGHT.is_open(moment, BERLIN)  # half past two in the afternoon


def test_summer_time_makes_nights_shorter_and_longer_and_neither_is_missed() -> None:
    for evening, hours in (("2026-03-28 22:00", 7), ("2026-10-24 22:00", 9), ("2026-11-25 22:00", 8)):
        begins = at(evening).astimezone(UTC)
        assert NIGHT.is_open(begins + timedelta(hours=hours, seconds=-1), BERLIN)
        assert not NIGHT.is_open(begins + timedelta(hours=hours), BERLIN)


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-11-25 12:00", "2026-11-25 22:00"),
        ("2026-11-25 22:00", "2026-11-26 22:00"),
        ("2026-11-26 03:00", "2026-11-26 22:00"),
    ],
)
def test_when_it_opens_next(moment: str, opens: str) -> None:
    assert NIGHT.opens_next(at(moment).astimezone(UTC), BERLIN) == at(opens)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.sampled_from([BERLIN, TOKYO, "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.times(),
    st.times(),
)
def test_it_is_open_when_it_opens_next(moment: datetime, zone: str, opens: object, closes: object) -> None:
    window = Window.parse(f"{opens:%H:%M}-{closes:%H:%M}")
    found = window.opens_next(moment, zone).astimezone(UTC)
    assert moment < found <= moment + timedelta(days=2, hours=2)
    wall = found.astimezone(ZoneInfo(zone))
    if (wall.hour, wall.minute) == (window.opens.hour, window.opens.minute):  # else summer time skipped it
        assert window.is_open(found, zone)


@pytest.mark.parametrize("text", ["", "22-06", "22:00", "24:00-06:00", "22:60-06:00", "22:00-06:00 UTC"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 22:00-06:00"):
        Window.parse(text)


def test_it_is_written_as_it_is_read() -> None:
    assert str(Window.parse(" 09:05-17:30 ")) == "09:05-17:30"

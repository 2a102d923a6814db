"""When a photo was taken: of every doubt the later moment, and of contradictions nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.capture import (
    APART,
    NOTHING_SAID,
    Claims,
    captured_from_exif,
    captured_from_key,
    check_pattern,
    doubt,
)
from fwd2bot_core.errors import UsageError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
moments = st.datetimes(datetime(1995, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("value", "offset", "zone", "expected"),
    [
        ("2026:11:24 13:05:07", "+09:00", None, "2026-11-24T04:05:07+00:00"),
        ("2026:11:24 13:05:07", "-03:30", "Asia/Tokyo", "2026-11-24T16:35:07+00:00"),
        ("2026:11:24 13:05:07\x00", None, "Asia/Tokyo", "2026-11-24T04:05:07+00:00"),
        ("2026-11-24T13:05:07", "", "UTC", "2026-11-24T13:05:07+00:00"),
        ("2026:11:24 13:05:07", "   :  ", "Asia/Tokyo", "2026-11-24T04:05:07+00:00"),
        ("2026:11:24 13:05:07", None, None, None),
        ("0000:00:00 00:00:00", None, "UTC", None),
        ("    :  :     :  :  ", None, "UTC", None),
        ("2026:02:30 00:00:00", None, "UTC", None),
        ("2026:11:24 13:05:07", "+99:00", "UTC", None),
        ("2026:11:24 13:05:07", "+14:00", "UTC", "2026-11-23T23:05:07+00:00"),
        ("0001:01:01 00:00:00", "+09:00", None, None),
        ("2026:11:24", None, "UTC", None),
        ("", None, "UTC", None),
    ],
)
def test_exif(value: str, offset: str | None, zone: str | None, expected: str | None) -> None:
    assert captured_from_exif(value, offset, zone) == (at(expected) if expected else None)


def test_of_an_hour_that_comes_twice_the_later_one_is_taken() -> None:
    assert captured_from_exif("2026:10:25 02:30:00", None, "Europe/Berlin") == at("2026-10-25T01:30:00+00:00")


@pytest.mark.parametrize(
    ("key", "pattern", "expected"),
    [
        ("line/2026/11/24/cam2_130507.jpg", "*/%Y/%m/%d/*_%H%M%S.jpg", "2026-11-24T04:05:07"),
        ("2026-11-24/x.jpg", "%Y-%m-%d/*", "2026-11-24T14:59:59.999999"),  # the whole day, in Tokyo
        ("26328_x", "%y%j_*", "2026-11-24T14:59:59.999999"),
        ("a_1764000000.png", "*_%s.png", "2025-11-24T16:00:00"),
        ("s-20261124T130507123.bmp", "s-%Y%m%dT%H%M%S%f.bmp", "2026-11-24T04:05:07.123"),
        ("2026/20261124.jpg", "%Y/%Y%m%d.jpg", "2026-11-24T14:59:59.999999"),
        ("2025/20261124.jpg", "%Y/%Y%m%d.jpg", None),  # twice, and not the same
        ("9990_2026-11-24.jpg", "*%Y-%m-%d.jpg", "2026-11-24T14:59:59.999999"),
        ("a%b_2026-11-24", "a%%b_%Y-%m-%d", "2026-11-24T14:59:59.999999"),
        ("a.b2026-11-24", "a?b%Y-%m-%d", "2026-11-24T14:59:59.999999"),
        ("2026-06-31", "%Y-%m-%d", None),
        ("2026-13-01", "%Y-%m-%d", None),
        ("2026-11-24x", "%Y-%m-%d", None),  # the whole key
        ("٢٠٢٦-11-24", "%Y-%m-%d", None),
        ("2025-366", "%Y-%j", None),
    ],
)
def test_keys(key: str, pattern: str, expected: str | None) -> None:
    found = captured_from_key(key, pattern, "Asia/Tokyo")
    assert found == (at(expected).replace(tzinfo=UTC) if expected else None)


@pytest.mark.parametrize("pattern", ["%Y-%m", "%H%M", "*", "%q", "%", "", "x" * 201])
def test_a_pattern_that_tells_no_day_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        check_pattern(pattern, "UTC")


def test_a_pattern_without_a_zone_is_refused_unless_it_needs_none() -> None:
    check_pattern("*_%s.jpg", None)
    with pytest.raises(UsageError, match="zone"):
        check_pattern("%Y-%m-%d", None)


def test_no_key_takes_long() -> None:
    begun = time.perf_counter()
    for key in ("2026" * 5_000, "2026-11-" * 2_500, "_" * 20_000):
        captured_from_key(key, "*%Y*-%m*-%d*_%H*_%M*x", "UTC")
    assert time.perf_counter() - begun < 1


def test_what_cannot_be_is_doubted() -> None:
    assert doubt(at("1989-12-31T00:00:00+00:00"), NOON) == "too-old"
    assert doubt(NOON + APART + timedelta(seconds=1), NOON) == "in-the-future"
    assert doubt(NOON + APART, NOON) is None
    assert doubt(at("2040-01-01T00:00:00+00:00"), NOON, ahead=True) is None
    assert doubt(at("2201-01-01T00:00:00+00:00"), NOON, ahead=True) == "in-the-future"


def test_nothing_said_is_nothing_known() -> None:
    assert (NOTHING_SAID.captured, NOTHING_SAID.origin) == (None, "")


@given(moments, moments)
def test_two_that_agree_give_the_later_one_and_others_nothing(one: datetime, other: datetime) -> None:
    found = Claims(exif=one, name=other).captured
    assert found == (max(one, other) if abs(one - other) <= APART else None)


def test_a_contradiction_says_who_says_what() -> None:
    said = Claims(exif=NOON - timedelta(days=9), told=NOON)
    assert said.captured is None
    assert said.origin == "contradictory: its file (EXIF) 2026-11-15 12:00Z, a person 2026-11-24 12:00Z"


def test_a_person_may_overrule_what_contradicts_them() -> None:
    said = Claims(exif=NOON, told=NOON - timedelta(days=9), overrules=True)
    assert said.captured == NOON - timedelta(days=9)
    assert "against what else" in said.origin


def test_claims_that_cannot_be_are_dropped_and_named() -> None:
    said = Claims(exif=at("1970-01-01T00:00:00+00:00"), name=NOON).believed(NOON)
    assert said == Claims(name=NOON, doubts=(("exif", "too-old"),))
    assert Claims(exif=NOON + timedelta(days=400)).believed(NOON).origin == "its file (EXIF) is in-the-future"

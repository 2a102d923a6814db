"""When a photo was taken: what its file, its key and people say of it, and what follows where they disagree.

A date too many keeps a photo longer, a wrong one lets it go too early: so of every doubt the later moment is taken, and
what contradicts itself is not known. Knows texts, zones and dates. Knows no store, no table and no clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fwd2bot_core.errors import UsageError

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # no digital photo is older: before it is a clock that nobody set
LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # of events that lie ahead, as the end of a warranty
APART = timedelta(days=1)  # what two clocks or zones may differ by and still mean the same photo
MOST_PATTERN = 200  # characters

_EXIF = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
FARTHEST = timedelta(hours=14)  # any place's offset from UTC
_OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)", re.ASCII)
_PARTS = {
    "Y": r"\d{4}",
    "y": r"\d\d",
    "m": r"(?:0[1-9]|1[0-2])",
    "d": r"(?:0[1-9]|[12]\d|3[01])",
    "j": r"[0-3]\d\d",
    "H": r"(?:[01]\d|2[0-3])",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d",
    "f": r"\d{1,6}",
    "s": r"\d{9,10}",
}
_DAYS = ({"s"}, {"Y", "m", "d"}, {"y", "m", "d"}, {"Y", "j"}, {"y", "j"})  # what tells a day


@dataclass(frozen=True, slots=True)
class CaptureRules:
    """How the capture dates of a collection's photos are found; nothing is guessed that no rule asks for."""

    exif: bool = False  # believe DateTimeOriginal of the files
    zone: str | None = None  # IANA name, for dates that do not say theirs
    name: str | None = None  # pattern of whole keys, see ``captured_from_key``

    @property
    def any(self) -> bool:
        return self.exif or self.name is not None


UNDATED = CaptureRules()


@dataclass(frozen=True, slots=True)
class Claims:
    """What is said of one photo; all aware. None: that source says nothing that can be believed."""

    exif: datetime | None = None  # its file
    name: datetime | None = None  # its key, by the collection's rule
    told: datetime | None = None  # a person, or a file that a person brought
    overrules: bool = False  # the person knew what the others say, and that they are wrong
    doubts: tuple[tuple[str, str], ...] = ()  # who said what is not believed, and why

    def believed(self, now: datetime) -> Claims:
        """Those of file and key that can be true; of the others only why they cannot."""
        found = {who: doubt(at, now) for who, at in self.said.items() if who != "told"}
        left = {who: None if found.get(who) else getattr(self, who) for who in ("exif", "name")}
        doubts = tuple((who, why) for who, why in found.items() if why)
        return replace(self, exif=left["exif"], name=left["name"], doubts=doubts)

    @property
    def said(self) -> dict[str, datetime]:
        """What is said, by who says it."""
        return {who: at for who in ("exif", "name", "told") if (at := getattr(self, who)) is not None}

    @property
    def captured(self) -> datetime | None:
        """The latest of claims that agree; None for no claim, and for claims further than a day apart."""
        if self.told is not None and self.overrules:
            return self.told
        found = self.said.values()
        return max(found) if found and max(found) - min(found) <= APART else None

    @property
    def origin(self) -> str:
        """Where the date comes from, or why there is none, in a few words for people."""
        if not self.said:
            return "; ".join(f"{_CALLED[who]} is {why}" for who, why in self.doubts)
        if self.told is not None and self.overrules:
            return "a person, against what else was said"
        if self.captured is not None:
            return " and ".join(_CALLED[who] for who in self.said)
        return "contradictory: " + ", ".join(
            f"{_CALLED[who]} {at.astimezone(UTC):%Y-%m-%d %H:%M}Z" for who, at in self.said.items()
        )


NOTHING_SAID = Claims()
_CALLED = {"exif": "its file (EXIF)", "name": "its key", "told": "a person"}


def doubt(at: datetime, now: datetime, *, ahead: bool = False) -> str | None:
    """Why a date is not believed: ``too-old`` or ``in-the-future``; None where it is.

    ``ahead``: of an event, which may lie ahead, since its period only begins then.
    """
    if at < EARLIEST:
        return "too-old"
    return "in-the-future" if at > (LATEST if ahead else now + APART) else None


def captured_from_exif(value: str, offset: str | None, zone: str | None) -> datetime | None:
    """DateTimeOriginal with its OffsetTimeOriginal, or else in ``zone``; None for what is no date, has no zone, or
    names an offset that no place on earth has: who writes that is not believed about the date either."""
    found = _EXIF.fullmatch(value.strip(" \x00"))
    if found is None:
        return None
    try:
        local = datetime(*map(int, found.groups()))  # type: ignore[arg-type]
        named = _OFFSET.fullmatch((offset or "").strip(" \x00"))
        if named is not None:
            east = timedelta(hours=int(named[2]), minutes=int(named[3])) * (1 if named[1] == "+" else -1)
            return (local - east).replace(tzinfo=UTC) if abs(east) <= FARTHEST else None
        return None if zone is None else in_zone(local, zone)
    except (ValueError, OverflowError):
        return None


def captured_from_key(key: str, pattern: str, zone: str | None) -> datetime | None:
    """The moment that a key names by ``pattern``, which is like the whole key; None where the key is not.

    ``*`` stands for any characters, ``?`` for one, and %Y %y %m %d %j %H %M %S %f %s mean what strptime means by them
    (%s: seconds since 1970); what stands twice must be the same twice. Where a ``*`` may mean several things the first
    place that fits counts. Of a day without a time its last moment is taken. Raises ``UsageError`` for no pattern.
    """
    found = _compiled(pattern).fullmatch(key)
    if found is None:
        return None
    parts = {name: int(text) for name, text in found.groupdict().items() if name != "f"}
    try:
        if "s" in parts:
            return datetime.fromtimestamp(parts["s"], UTC)
        local = _day(parts) + _time(parts, found.groupdict().get("f"))
        return None if zone is None else in_zone(local, zone)
    except (ValueError, OverflowError):
        return None  # the 31st of June


def check_pattern(pattern: str, zone: str | None) -> None:
    """Raises ``UsageError`` for a pattern that cannot be read, or that tells no moment."""
    groups = set(_compiled(pattern).groupindex)
    if not any(needed <= groups for needed in _DAYS):
        raise UsageError(f"{pattern!r} names no day: it needs %Y, %m and %d, or %Y and %j, or %s")
    if "s" not in groups and zone is None:
        raise UsageError(f"{pattern!r} needs a zone beside it, in which the names of keys count")


def in_zone(local: datetime, zone: str) -> datetime:
    """A naive time as UTC; the later one of two that a zone calls so, as when clocks are put back."""
    found = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(found)


def _day(parts: dict[str, int]) -> datetime:
    year = parts["Y"] if "Y" in parts else 2000 + parts["y"]
    if "j" not in parts:
        return datetime(year, parts["m"], parts["d"])
    day = datetime(year, 1, 1) + timedelta(days=parts["j"] - 1)
    if day.year != year:
        raise ValueError(f"{year} has no day {parts['j']}")
    return day


def _time(parts: dict[str, int], fraction: str | None) -> timedelta:
    """Since midnight; of what is not named, the end."""
    if fraction is not None:
        below = timedelta(microseconds=int(fraction.ljust(6, "0")))
    else:
        below = timedelta(microseconds=999_999) if "S" not in parts else timedelta(0)
    hour, minute = parts.get("H", 23), parts.get("M", 59)
    return timedelta(hours=hour, minutes=minute, seconds=parts.get("S", 59)) + below


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Between two ``*`` the first place that fits is kept (an atomic group), so that no key takes long."""
    if not 0 < len(pattern) <= MOST_PATTERN:
        raise UsageError(f"a pattern of keys has 1 to {MOST_PATTERN} characters")
    seen: set[str] = set()
    first, *rest = (_segment(pattern, text, seen) for text in pattern.split("*"))
    if not rest:
        return re.compile(first, re.ASCII | re.DOTALL)
    middle = "".join(f"(?>.*?{segment})" for segment in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.ASCII | re.DOTALL)


def _segment(pattern: str, text: str, seen: set[str]) -> str:
    made, at = [], 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "?":
            made.append(".")
        elif char != "%":
            made.append(re.escape(char))
        else:
            made.append(_directive(pattern, text[at : at + 1], seen))
            at += 1
    return "".join(made)


def _directive(pattern: str, name: str, seen: set[str]) -> str:
    if name == "%":
        return "%"
    if name not in _PARTS:
        known = " ".join(f"%{one}" for one in _PARTS)
        raise UsageError(
            f"{pattern!r}: %{name} is not known here; there are {known} and %% for a percent sign"
        )
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>{_PARTS[name]})"

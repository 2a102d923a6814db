"""The kinds of value that a policy is made of, each with what an editor may know of it beforehand.

Values come from YAML as plain texts; nothing is guessed from an empty one. Knows nothing of what a policy is.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, StringConstraints, WithJsonSchema

from fwd2bot_core.audit.canonical import LARGEST_INT
from fwd2bot_core.retention.periods import PERIOD, ROUNDING, Period, Rounding

MOST_STARS = 8  # in one key pattern: more make matching slow, and nobody needs them
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?) ?(%?)", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}) ?(B|KB|MB|GB|TB|PB)?", re.ASCII)
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}


def _share(value: Any) -> Decimal:
    """``0.005`` or ``0.5 %``."""
    found = _SHARE.fullmatch(str(value))
    if found is None:
        raise ValueError(f"{value!r} is no share: write 0.005 or 0.5 %")
    share = Decimal(found[1]) / (100 if found[2] else 1)
    if share > 1:
        raise ValueError(f"{value!r} is more than the whole; write 0.005 or 0.5 %")
    return share


def _positive_share(value: Any) -> Decimal:
    share = _share(value)
    if not share:
        raise ValueError(f"{value!r}: must be more than nothing")
    return share


def _size(value: Any) -> int:
    """``500 GB``, in powers of ten, or a number of bytes."""
    found = _SIZE.fullmatch(str(value))
    size = int(found[1]) * _UNITS[found[2] or "B"] if found else 0
    if not 0 < size <= LARGEST_INT:
        raise ValueError(f"{value!r} is no size: write 500 GB, or a number of bytes, at most 9 PB")
    return size


def _count(value: Any) -> int:
    if not re.fullmatch(r"\d{1,15}", str(value), re.ASCII):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def _positive_count(value: Any) -> int:
    count = _count(value)
    if not count:
        raise ValueError("must be 1 or more")
    return count


def _flag(value: Any) -> bool:
    if str(value).lower() not in {"true", "false"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return str(value).lower() == "true"


def _day(value: Any) -> date:
    if isinstance(value, date):
        return value
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(value), re.ASCII):
        raise ValueError(f"{value!r} is no date such as 2027-04-01")
    return date.fromisoformat(str(value))


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no IANA time zone such as Asia/Tokyo") from None
    return value


def _glob(value: str) -> str:
    if value.count("*") > MOST_STARS:
        raise ValueError(f"{value!r} has more than {MOST_STARS} *; use several rules")
    return value


def plain(share: Decimal) -> str:
    """One share, one text, however it was written: 0.005."""
    return f"{share.normalize():f}"


_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,9})? ?%$"},
    ]
}
_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+ ?(B|KB|MB|GB|TB|PB)$"}]
}
_AS_TEXT = PlainSerializer(plain, return_type=str)

Share = Annotated[Decimal, PlainValidator(_share), _AS_TEXT, WithJsonSchema(_SHARE_SCHEMA)]
PositiveShare = Annotated[Decimal, PlainValidator(_positive_share), _AS_TEXT, WithJsonSchema(_SHARE_SCHEMA)]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
Count = Annotated[
    int, BeforeValidator(_positive_count), WithJsonSchema({"type": "integer", "minimum": 1})
]  # 1 or more
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
PeriodField = Annotated[
    Period,
    PlainValidator(lambda value: value if isinstance(value, Period) else Period.parse(str(value))),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PERIOD, "examples": ["P7Y", "P6M", "P30D"]}),
]
RoundingField = Annotated[
    Rounding,
    PlainValidator(lambda value: value if isinstance(value, Rounding) else Rounding.parse(str(value))),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": ROUNDING, "examples": ["day", "fiscal_year:04-01"]}),
]
Zone = Annotated[str, BeforeValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Asia/Tokyo"]})]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Duty = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Collection = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=1000), BeforeValidator(_glob)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Trigger = Annotated[
    str, StringConstraints(pattern=r"^(captured|first_seen|event:[a-z0-9][a-z0-9._-]{0,63})$")
]

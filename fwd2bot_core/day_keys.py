"""What the keys of one day begin with, where a pattern of keys (as ``capture.captured_from_key`` takes) says so.

So that a day can be listed by itself. Knows texts and dates. Knows no store and no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from fwd2bot_core.errors import UsageError

_DAY = ({"Y", "m", "d"}, {"y", "m", "d"}, {"Y", "j"}, {"y", "j"})
_OF_A_DAY = frozenset("Yymdj")


def day_prefixes(pattern: str, first: date, last: date) -> Iterator[str]:
    """Of each day from ``first`` to ``last``. Raises ``UsageError`` as ``check_day_first``."""
    form = _form(pattern)
    for number in range((last - first).days + 1):
        yield (first + timedelta(days=number)).strftime(form)


def check_day_first(pattern: str) -> None:
    """Raises ``UsageError`` for a pattern whose keys of one day have no beginning of their own."""
    _form(pattern)


def _form(pattern: str) -> str:
    """The part of the pattern up to where the day is said, for ``strftime``."""
    said, at = set[str](), 0
    while at < len(pattern) and pattern[at] not in "*?":
        if pattern[at] != "%":
            at += 1
            continue
        name = pattern[at + 1 : at + 2]
        at += 2
        if name == "%":
            continue
        if name not in _OF_A_DAY:
            break
        said.add(name)
        if any(day <= said for day in _DAY):
            return pattern[:at]
    raise UsageError(
        f"{pattern!r} does not begin with the day, so that one day cannot be listed: before it stands a * or ?, or a "
        "part that changes within a day"
    )

"""What the keys of a day begin with."""

from __future__ import annotations

from datetime import date

import pytest

from fwd2bot_core.day_keys import check_day_first, day_prefixes
from fwd2bot_core.errors import UsageError


@pytest.mark.parametrize(
    ("pattern", "prefixes"),
    [
        ("%Y/%m/%d/*.jpg", ["2026/02/28", "2026/03/01"]),
        ("line-1/%Y-%m-%d_%H%M%S*.jpg", ["line-1/2026-02-28", "line-1/2026-03-01"]),
        ("100%%/%y%j*", ["100%/26059", "100%/26060"]),
        ("%d.%m.%Y/*", ["28.02.2026", "01.03.2026"]),
    ],
)
def test_the_keys_of_a_day_begin_alike(pattern: str, prefixes: list[str]) -> None:
    assert list(day_prefixes(pattern, date(2026, 2, 28), date(2026, 3, 1))) == prefixes


def test_of_no_days_there_are_none() -> None:
    assert list(day_prefixes("%Y%m%d*", date(2026, 3, 2), date(2026, 3, 1))) == []


@pytest.mark.parametrize("pattern", ["*/%Y-%m-%d/*", "%Y/%m/*", "%H/%Y%m%d*", "%s*", "?%Y%m%d", "", "%Y%m%"])
def test_a_day_that_comes_later_in_a_key_cannot_be_listed(pattern: str) -> None:
    with pytest.raises(UsageError, match="does not begin with the day"):
        check_day_first(pattern)

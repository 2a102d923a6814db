"""Times as people write them on a command line. Knows nothing about what happened then."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from fwd2bot_core.errors import UsageError

DAY = timedelta(days=1)
NOTHING = timedelta(0)


def moment(option: str, text: str | None, day: timedelta) -> datetime | None:
    """A time, UTC unless it names a zone; ``day`` is added to one that is a whole day. Raises ``UsageError``."""
    if text is None:
        return None
    try:
        if len(text) <= 10:
            whole = date.fromisoformat(text)
            return datetime(whole.year, whole.month, whole.day, tzinfo=UTC) + day
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option}: {text!r} is no time; write 2026-11-24 or 2026-11-24T17:00:00+09:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

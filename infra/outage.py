"""A database that restarts in the middle of a night: what met it is done again until the database answers.

For actions that may run twice. Knows nothing about what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from fwd2bot_core.errors import LedgerUnreachable

OUTAGE_SECONDS = 120.0  # a restart with recovery; workers keep what they computed meanwhile
LONGEST_WAIT = 5.0

T = TypeVar("T")


def once_back(action: Callable[[], T], *, seconds: float = OUTAGE_SECONDS) -> T:
    """What ``action`` gives; done again while the ledger cannot be reached. Raises ``LedgerUnreachable`` in the end."""
    return Retrying(
        retry=retry_if_exception_type(LedgerUnreachable),
        wait=wait_random_exponential(max=LONGEST_WAIT, multiplier=0.2),
        stop=stop_after_delay(seconds),
        reraise=True,
    )(action)

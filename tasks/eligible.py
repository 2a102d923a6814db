"""The retention calendar: how many originals become due in each of the coming months by the policies in force.

A month's share is what all that is about the photo lets go at its end and did not at its beginning, as things stand
today: holds, tags and fidelity may change until then. Decides by ``simulation``; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.policy_file import Document
from infra import audit_log
from infra.installation import Installation
from tasks import policies
from tasks.policies import PolicyState
from tasks.simulation import Amount, simulate

MONTHS = 12


@dataclass(frozen=True, slots=True)
class Month:
    """``begins`` in UTC; ``newly``: due at its end and not at its beginning."""

    name: str  # such as 2027-03, in the policy's zone
    begins: datetime
    newly: Amount


@dataclass(frozen=True, slots=True)
class Calendar:
    """What one policy in force lets go, and when."""

    policy: str
    version: int
    stage: str
    collections: tuple[str, ...]
    due: Amount  # already at the moment of asking
    months: tuple[Month, ...]
    problem: str | None = None  # why there are no months


def calendars(house: Installation, *, months: int = MONTHS) -> list[Calendar]:
    """One a policy in force, by its id; costs a decision over all its photos for each month."""
    with house.ledger.read() as connection:
        found = [
            policies.stored(connection, one.id, one.version)
            for one in policies.versions(connection)
            if one.state is PolicyState.ACTIVE
        ]
    return sorted((_calendar(house, one, months) for one in found), key=lambda one: one.policy)


def _calendar(house: Installation, document: Document, months: int) -> Calendar:
    policy, now = document.policy, audit_log.now()
    about = policy.id, policy.version, policy.rollout.stage, tuple(policy.collections)
    begins = list(_months(now, policy.tz, months))
    try:
        due = [simulate(house, document, as_of=at).due.now for at in (now, *begins[1:])]
    except UsageError as error:
        return Calendar(*about, Amount(), (), str(error))
    steps = (
        Month(
            f"{at.astimezone(policy.tz):%Y-%m}",
            at,
            Amount(after.objects - before.objects, after.bytes - before.bytes),
        )
        for at, before, after in zip(begins, due, due[1:], strict=False)
    )
    return Calendar(*about, due[0], tuple(steps))


def _months(now: datetime, zone: ZoneInfo, count: int) -> Iterator[datetime]:
    """The beginning of this month and of ``count`` more, aware and in UTC."""
    here = now.astimezone(zone)
    for number in range(count + 1):
        years, month = divmod(here.month - 1 + number, 12)
        yield datetime(here.year + years, month + 1, 1, tzinfo=zone).astimezone(UTC)

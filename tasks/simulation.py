"""What a policy would do: every photo decided as at some time, counted, and held against the version in force.

The same SQL as a real list; writes nothing. Knows decisions and counts. Knows nothing of lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.decision import OF_THE_PHOTO, Condition, failed, own
from fwd2bot_core.retention.facts import Clock
from fwd2bot_core.retention.policy import Policy
from fwd2bot_core.retention.policy_file import Document
from infra import audit_log
from infra.installation import Installation
from infra.policy_sql import Group, Terms, tally
from infra.tables import collections
from tasks import policies
from tasks.standing import standing

_PHOTO = sum(condition.bit for condition in OF_THE_PHOTO)


@dataclass(frozen=True, slots=True)
class Amount:
    """So many photos, and the bytes of their originals."""

    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """How many there are, and how that differs from the policy that was compared with."""

    now: Amount
    newly: Amount
    no_longer: Amount


@dataclass(frozen=True, slots=True)
class Stopped:
    """Photos that a condition keeps: all of them, and those that nothing else keeps; of a condition about the photo,
    those that nothing else about the photo does."""

    all: Amount
    alone: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """``due``: all that is about the photo says that it may go. ``may_go``: policy, collection and clock say so too."""

    policy: dict[str, Any]
    against: dict[str, Any] | None  # another policy, if one was compared with
    as_of: datetime
    photos: Amount  # of the collections of both
    due: Change
    may_go: Change
    stopped: dict[Condition, Stopped]  # in the order of the conditions
    beyond: list[str]  # limits of the policy that one run over all of ``may_go`` would hit
    unknown: list[str]  # collections that the policy names and the settings or the ledger do not know


def simulate(
    house: Installation, document: Document, *, against: Document | None = None, as_of: datetime | None = None
) -> Simulation:
    """Decide every photo by ``document`` as at ``as_of`` (aware; default now), and by ``against`` (default: the version
    of the same policy that is in force, if there is one). Holds, tags and fidelity count as they are today.

    Raises ``UsageError`` where no collection of the policy is known.
    """
    clock = Clock(as_of or audit_log.now())
    policy = document.policy
    with house.ledger.read() as connection:
        other = against or policies.in_force(connection, policy.id)
        asked = [policy, *([other.policy] if other else [])]
        known = _known(house, connection, {name for one in asked for name in one.collections})
        standings = {name: standing(house, connection, name) for name in known}
        unknown = [name for name in policy.collections if name not in known]
        if len(unknown) == len(policy.collections):
            raise UsageError(
                f"policy {policy.id!r} is about {', '.join(unknown)}; none is a collection of the settings that a "
                "night has looked at"
            )
        groups = tally(connection, *(Terms(one, standings, clock) for one in asked))
    may_go = _change(groups, lambda mask: mask == 0)
    return Simulation(
        policy=document.reference(),
        against=other.reference() if other else None,
        as_of=clock.now,
        photos=_amount(groups),
        due=_change(groups, lambda mask: not mask & _PHOTO),
        may_go=may_go,
        stopped={condition: _stopped(groups, condition) for condition in Condition},
        beyond=_beyond(policy, may_go.now, _amount(groups)),
        unknown=unknown,
    )


def _known(house: Installation, connection: sa.Connection, wanted: set[str]) -> list[str]:
    named = connection.execute(sa.select(collections.c.name).where(collections.c.name.in_(wanted))).scalars()
    return sorted(name for name in named if name in house.settings.collections)


def _amount(groups: Iterable[Group]) -> Amount:
    groups = list(groups)
    return Amount(sum(group.objects for group in groups), sum(group.bytes for group in groups))


def _change(groups: Sequence[Group], goes: Callable[[int], bool]) -> Change:
    """Under the first policy, against the second if there is one; else all are new."""
    after = [group for group in groups if goes(group.masks[0])]
    before = [group for group in groups if len(group.masks) > 1 and goes(group.masks[1])]
    newly = [group for group in after if group not in before]
    return Change(_amount(after), _amount(newly), _amount(group for group in before if group not in after))


def _stopped(groups: Sequence[Group], condition: Condition) -> Stopped:
    mine = [group for group in groups if group.masks[0] & condition.bit]
    looked_at = _PHOTO if condition in OF_THE_PHOTO else ~0
    alone = [group for group in mine if own(failed(group.masks[0] & looked_at)) == {condition}]
    return Stopped(_amount(mine), _amount(alone))


def _beyond(policy: Policy, goes: Amount, photos: Amount) -> list[str]:
    limits = policy.limits
    hit = {
        "objects": goes.objects > limits.objects,
        "percent": goes.objects > limits.percent * photos.objects,
        "bytes": goes.bytes > limits.bytes,
    }
    return [name for name, is_so in hit.items() if is_so]

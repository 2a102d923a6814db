"""Erasing a person's photos from everywhere: what is signed about it, and how far it may go when.

    erasure   PLANNED -> APPROVED -> RUNNING -> DONE     PLANNED, APPROVED -> REFUSED
    item      PLANNED <-> INTENT -> ERASED

What is signed is a hash over salted commitments, so that it says nothing of anybody once the salts are erased. Knows no
database, no store and no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum

from fwd2bot_core.audit.canonical import canonical, commitment
from fwd2bot_core.retention.decide import matches
from fwd2bot_core.retention.facts import Clock, ObjectFacts
from fwd2bot_core.retention.periods import not_before
from fwd2bot_core.retention.policy import Policy
from fwd2bot_core.work import Unit

MOST = 1_000  # photos of one erasure: a request is about a person, not about an archive


class State(StrEnum):
    PLANNED = "planned"  # waits for somebody else's signature
    APPROVED = "approved"
    RUNNING = "running"  # some of it is in the log as meant, and may be gone
    DONE = "done"  # everything was looked at again, and nothing is left
    REFUSED = "refused"


class ItemState(StrEnum):
    PLANNED = "planned"
    INTENT = "intent"  # the log says that it will be erased
    ERASED = "erased"


def digest(units: Iterable[Unit]) -> str:
    """64 hex digits over exactly these object versions and contents, in whatever order they come."""
    lines = [
        [
            unit.object_version_id,
            commitment(unit.salt, "key", unit.key),
            commitment(unit.salt, "identity", unit.identity),
            commitment(unit.salt, "sha256", unit.content_sha256 or ""),
        ]
        for unit in sorted(units, key=lambda unit: unit.object_version_id)
    ]
    return hashlib.sha256(canonical({"erasure": lines, "v": 1})).hexdigest()


def statement(erasure_id: str, sha256: str, person: str, reason: str) -> bytes:
    """The exact bytes that somebody signs who approves an erasure."""
    said = {"decision": "erase", "erasure": erasure_id, "person": person, "reason": reason, "sha256": sha256}
    return canonical(said) + b"\n"


def duties(policy: Policy, photo: ObjectFacts, clock: Clock) -> list[str]:
    """The duties that forbid to erase a photo now: of each rule that matches it, names one, and is not over.

    One whose date is not known is not known to be over.
    """
    found = []
    for rule in policy.rules:
        if rule.duty is None or not matches(rule, photo):
            continue
        at = photo.date(rule.trigger)
        if at is None:
            found.append(f"{rule.duty} (rule {rule.name}: since when is not known)")
        elif clock.now < (end := not_before(at, rule.retain, rule.rounding, policy.tz)):
            found.append(f"{rule.duty} (rule {rule.name}: until {end.astimezone(policy.tz):%Y-%m-%d})")
    return found

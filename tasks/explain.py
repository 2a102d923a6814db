"""Why may this photo go, or why not? Every condition of every policy about it, with what was found and required.

Knows how to find a photo and the policies in force. Decides nothing itself (``fwd2bot_core.retention.decide``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.retention.decide import decide
from fwd2bot_core.retention.decision import Decision
from fwd2bot_core.retention.facts import Clock, ObjectFacts
from fwd2bot_core.retention.policy_file import Document
from infra import audit_log
from infra.installation import Installation
from infra.lookup import find
from infra.object_facts import facts
from tasks import policies
from tasks.policies import PolicyState
from tasks.standing import standing


@dataclass(frozen=True, slots=True)
class Explained:
    """One version of a photo; without a policy about its collection ``policy`` and ``decision`` are None: it stays."""

    collection: str
    key: str
    identity: str
    sha256: str | None
    policy: dict[str, Any] | None
    decision: Decision | None


def explain(
    house: Installation,
    image: str,
    collection: str | None = None,
    *,
    by: Document | None = None,
    as_of: datetime | None = None,
) -> list[Explained]:
    """Of each version of an image (a key, or the first digits of its sha256), oldest first, by ``by`` or by each policy
    in force that names its collection. Raises ``NotInArchive``."""
    clock = Clock(as_of or audit_log.now())
    with house.ledger.read() as connection:
        numbers = [row.id for row in find(connection, image, collection)]
        in_force = [by] if by else _in_force(connection)
        return [
            one
            for photo in facts(connection, numbers)
            for one in _by_each(house, connection, photo, in_force, clock)
        ]


def _in_force(connection: sa.Connection) -> list[Document]:
    return [
        policies.stored(connection, version.id, version.version)
        for version in policies.versions(connection)
        if version.state is PolicyState.ACTIVE
    ]


def _by_each(
    house: Installation,
    connection: sa.Connection,
    photo: ObjectFacts,
    documents: Sequence[Document],
    clock: Clock,
) -> list[Explained]:
    named = photo.collection, photo.key, photo.identity, photo.content
    about = [one for one in documents if photo.collection in one.policy.collections]
    if not about:
        return [Explained(*named, None, None)]
    there = standing(house, connection, photo.collection)
    return [Explained(*named, one.reference(), decide(one.policy, photo, there, clock)) for one in about]

"""What people sign about a version of a policy, how many must, and how long it then cools off.

Signatures are verified again each time they are counted. Knows nothing of the states of a version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.errors import AccessDenied
from fwd2bot_core.retention.comparison import Loosening, loosened
from fwd2bot_core.retention.policy import Policy
from fwd2bot_core.retention.policy_file import Document
from fwd2bot_core.retention.roles import Act, may
from infra.retention_tables import policies, policy_approvals
from tasks import people

COOLING_OFF = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Needed:
    """What must be there before a version may be in force."""

    loosened: list[Loosening]

    @property
    def approvals(self) -> int:
        return 2 if self.loosened else 1

    @property
    def cooling_off(self) -> timedelta:
        return COOLING_OFF if self.loosened else timedelta(0)


@dataclass(frozen=True, slots=True)
class Approval:
    """One valid signature."""

    person: people.Person
    reason: str
    signed_at: datetime


def needed(in_force: Policy | None, new: Policy) -> Needed:
    """Against the version that is in force now."""
    return Needed(loosened(in_force, new))


def statement(document: Document, person: str, reason: str) -> bytes:
    """The exact bytes that somebody signs to approve a version."""
    return canonical(_about(document, reason) | {"person": person}) + b"\n"


def valid(connection: sa.Connection, document: Document, *, once: bool = False) -> list[Approval]:
    """Those that count now, oldest first: signed by the registered key, over this version, by an approver who neither
    wrote it nor was revoked; with ``once``, also those of people who were revoked or lost the role since."""
    known = {one.id: one for one in people.everybody(connection)}
    author = author_of(connection, document.policy.id, document.policy.version)
    rows = connection.execute(
        sa.select(policy_approvals)
        .where(
            policy_approvals.c.policy_id == document.policy.id,
            policy_approvals.c.version == document.policy.version,
        )
        .order_by(policy_approvals.c.signed_at)
    )
    return [
        Approval(known[row.person_id], row.reason, row.signed_at)
        for row in rows
        if row.person_id in known and _counts(row, document, known[row.person_id], author, once)
    ]


def author_of(connection: sa.Connection, policy_id: str, version: int) -> str:
    """The reference of who drafted a version."""
    query = sa.select(policies.c.author_ref).where(policies.c.id == policy_id, policies.c.version == version)
    return str(connection.execute(query).scalar_one())


def add(
    connection: sa.Connection,
    document: Document,
    person: people.Person,
    reason: str,
    signature: str,
    at: datetime,
) -> None:
    """Raises ``AccessDenied`` for the author, and for a second time; the signature was verified."""
    policy = document.policy
    if person.ref == author_of(connection, policy.id, policy.version):
        raise AccessDenied(f"{person.name!r} drafted this version, so somebody else must approve it")
    mine = sa.and_(
        policy_approvals.c.policy_id == policy.id,
        policy_approvals.c.version == policy.version,
        policy_approvals.c.person_id == person.id,
    )
    if connection.execute(sa.select(policy_approvals.c.signed_at).where(mine)).first() is not None:
        raise AccessDenied(f"{person.name!r} approved this version already; nobody counts twice")
    connection.execute(
        policy_approvals.insert().values(
            policy_id=policy.id,
            version=policy.version,
            person_id=person.id,
            reason=reason,
            statement=statement(document, person.name, reason),
            signature=signature,
            signed_at=at,
        )
    )


def _counts(row: sa.Row[Any], document: Document, person: people.Person, author: str, once: bool) -> bool:
    if person.ref == author or not (once or (not person.revoked and may(person.roles, Act.APPROVE_POLICY))):
        return False
    about = _about(document, row.reason)
    return people.has_signed(person, row.statement, row.signature, about)


def _about(document: Document, reason: str) -> dict[str, Any]:
    """All of a statement but the name, which may be erased; whose it is, the key says."""
    policy = document.policy
    said = {"decision": "approve", "policy": policy.id, "version": policy.version}
    return said | {"policy_sha256": document.sha256, "reason": reason}

"""The versions of each policy: drafted as exact bytes, approved by signatures, in force one at a time, retired.

    DRAFT -> SIMULATED -> APPROVED -> ACTIVE -> RETIRED    whatever is not retired may be; a draft may be approved
                                                           without anybody having tried it out, and that shows

A version that lets more go than the one in force (``comparison``) needs two approvals and cools off for a week. Knows
nothing of photos or lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import BlockedByPolicy, IntegrityError, UsageError
from fwd2bot_core.retention.policy_file import Document, read
from fwd2bot_core.retention.roles import Act, Role
from infra import audit_log
from infra.database import Ledger
from infra.retention_tables import policies
from tasks import people, policy_approvals
from tasks.policy_approvals import Needed, needed, valid


class PolicyState(StrEnum):
    DRAFT = "draft"
    SIMULATED = "simulated"  # somebody has seen what it would let go
    APPROVED = "approved"
    ACTIVE = "active"  # in force
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Version:
    """One version, as a list shows it."""

    id: str
    version: int
    sha256: str
    state: PolicyState
    drafted_at: datetime
    approved_at: datetime | None
    active_at: datetime | None
    retired_at: datetime | None


def draft(ledger: Ledger, data: bytes, person: str, *, name: str = "policy") -> Document:
    """Store the bytes of a policy file as a version of their own.

    Raises ``UsageError`` for what is no policy (its message begins with ``name``) or no new version, ``AccessDenied``.
    """
    document = read(data, name)
    policy = document.policy
    author = people.permitted(ledger, person, Act.DRAFT_POLICY, _called(policy.id, policy.version))
    with ledger.write() as connection:
        audit_log.hold(connection)
        newest = connection.execute(
            sa.select(sa.func.max(policies.c.version)).where(policies.c.id == policy.id)
        ).scalar_one()
        if newest is not None and policy.version <= newest:
            raise UsageError(
                f"{name}: version {policy.version} of {policy.id!r} is not new; versions are never changed: write "
                f"version: {newest + 1}"
            )
        at = audit_log.now()
        connection.execute(
            policies.insert().values(
                id=policy.id,
                version=policy.version,
                sha256=document.sha256,
                meaning_sha256=policy.meaning_sha256,
                yaml=data,
                state=PolicyState.DRAFT,
                author_ref=author.ref,
                drafted_at=at,
            )
        )
        more = {"loosenings": len(needed_now(connection, document).loosened)}
        step = _Step(author, Role.POLICY_AUTHOR, document.reference(), None, PolicyState.DRAFT, at)
        _note(connection, "policy.drafted", step, more=more)
    return document


def approve(
    ledger: Ledger, policy_id: str, version: int, person: str, reason: str, signature: str
) -> PolicyState:
    """Count one more approval, a signature over ``policy_approvals.statement``; the state that follows.

    Raises ``AccessDenied``, after the log says so, and ``UsageError`` for a version that waits for none.
    """
    what = _called(policy_id, version)
    with ledger.read() as connection:
        document = stored(connection, policy_id, version)
    said = policy_approvals.statement(document, person, reason)
    people.signed(ledger, person, Act.APPROVE_POLICY, what, said, signature)
    with people.refusals(ledger, person, Act.APPROVE_POLICY, what), ledger.write() as connection:
        audit_log.hold(connection)
        someone = people.find(connection, person)  # nobody revoked them meanwhile
        before = PolicyState(_row(connection, policy_id, version).state)
        if before not in {PolicyState.DRAFT, PolicyState.SIMULATED, PolicyState.APPROVED}:
            raise UsageError(f"{what} is {before}; it waits for no approval")
        at = audit_log.now()
        policy_approvals.add(connection, document, someone, reason, signature, at)
        enough = len(valid(connection, document)) >= needed_now(connection, document).approvals
        after = PolicyState.APPROVED if enough else before
        if after != before:
            _move(connection, policy_id, version, after, approved_at=at)
        more = {"signature": audit_log.reference(connection, "signature", signature)}
        step = _Step(someone, Role.APPROVER, document.reference(), before, after, at)
        _note(connection, "policy.approved", step, reason, more)
    return after


def note_simulated(ledger: Ledger, document: Document, after: dict[str, Any], role: str = "operator") -> bool:
    """Write down that a draft with exactly these bytes was tried out, and what it would let go.

    False, and nothing, where it is none.
    """
    policy = document.policy
    mine = policies.c.id == policy.id, policies.c.version == policy.version
    drafted = sa.select(policies.c.sha256).where(*mine, policies.c.state == PolicyState.DRAFT)
    with ledger.read() as connection:
        if connection.execute(drafted).scalar() != document.sha256:
            return False
    with ledger.write() as connection:
        audit_log.hold(connection)
        if connection.execute(drafted).scalar() != document.sha256:
            return False
        at = audit_log.now()
        _move(connection, policy.id, policy.version, PolicyState.SIMULATED, simulated_at=at)
        event = Event(
            type="policy.simulated",
            occurred_at=at,
            actor=audit_log.actor(connection, role),
            before={"state": str(PolicyState.DRAFT)},
            after={"state": str(PolicyState.SIMULATED), **after},
            policy=document.reference(),
        )
        audit_log.append(connection, event)
    return True


def activate(ledger: Ledger, policy_id: str, version: int, person: str) -> Document:
    """Put an approved version into force, in the place of the one that is.

    Raises ``BlockedByPolicy`` for too few approvals or too short a cooling-off, ``AccessDenied``, ``UsageError``.
    """
    someone = people.permitted(ledger, person, Act.ACTIVATE_POLICY, _called(policy_id, version))
    with ledger.write() as connection:
        audit_log.hold(connection)
        document = stored(connection, policy_id, version)
        before, current = (
            PolicyState(_row(connection, policy_id, version).state),
            in_force(connection, policy_id),
        )
        if before is PolicyState.RETIRED or (current and current.policy.version >= version):
            raise UsageError(f"{_called(policy_id, version)} is {before} or older than the one in force")
        at = audit_log.now()
        _refuse_overlap(connection, document)
        _refuse_too_early(connection, document, at)
        if current is not None:
            _move(connection, policy_id, current.policy.version, PolicyState.RETIRED, retired_at=at)
            step = _Step(someone, None, current.reference(), PolicyState.ACTIVE, PolicyState.RETIRED, at)
            _note(connection, "policy.retired", step)
        _move(connection, policy_id, version, PolicyState.ACTIVE, active_at=at)
        step = _Step(someone, None, document.reference(), before, PolicyState.ACTIVE, at)
        _note(connection, "policy.activated", step)
    return document


def retire(ledger: Ledger, policy_id: str, version: int, person: str, reason: str) -> None:
    """End a version: nothing more goes by it. Raises ``AccessDenied``, and ``UsageError`` for one that has ended."""
    what = _called(policy_id, version)
    someone = people.permitted(ledger, person, Act.RETIRE_POLICY, what)
    with ledger.write() as connection:
        audit_log.hold(connection)
        row = _row(connection, policy_id, version)  # also one that cannot be read any more
        if row.state == PolicyState.RETIRED:
            raise UsageError(f"{what} is retired already; nothing was changed")
        at = audit_log.now()
        _move(connection, policy_id, version, PolicyState.RETIRED, retired_at=at)
        named = {"id": row.id, "version": row.version}
        named |= {"sha256": row.sha256, "meaning_sha256": row.meaning_sha256}
        step = _Step(someone, None, named, PolicyState(row.state), PolicyState.RETIRED, at)
        _note(connection, "policy.retired", step, reason)


def active(connection: sa.Connection, policy_id: str) -> Document:
    """The version in force, whose bytes are those that were drafted and that somebody approved by a signature.

    Raises ``BlockedByPolicy`` where there is none, and ``IntegrityError``.
    """
    document = in_force(connection, policy_id)
    if document is None:
        raise BlockedByPolicy(f"no version of policy {policy_id!r} is active; nothing may go by it")
    if not valid(connection, document, once=True):
        raise IntegrityError(
            f"{_called(policy_id, document.policy.version)} is said to be active, and nobody signed it"
        )
    return document


def in_force(connection: sa.Connection, policy_id: str) -> Document | None:
    """The same without looking at signatures, for comparing; None where no version is active."""
    query = sa.select(policies.c.version).where(
        policies.c.id == policy_id, policies.c.state == PolicyState.ACTIVE
    )
    version = connection.execute(query).scalar_one_or_none()
    return None if version is None else stored(connection, policy_id, version)


def stored(connection: sa.Connection, policy_id: str, version: int) -> Document:
    """One version. Raises ``UsageError`` for an unknown one, ``IntegrityError`` for other bytes than were drafted, and
    ``BlockedByPolicy`` where this software reads them otherwise than the one that took them."""
    row, what = _row(connection, policy_id, version), _called(policy_id, version)
    document = read(row.yaml, what)
    said = document.policy
    if (document.sha256, said.id, said.version) != (row.sha256, policy_id, version):
        raise IntegrityError(f"{what} holds other bytes than were drafted; nothing may go by it")
    if said.meaning_sha256 != row.meaning_sha256:
        raise BlockedByPolicy(
            f"this software reads {what} otherwise than the one that took it; draft it again as a new version"
        )
    return document


def needed_now(connection: sa.Connection, document: Document) -> Needed:
    """What a version needs before it may be in force, against the one that is now."""
    current = in_force(connection, document.policy.id)
    return needed(current.policy if current else None, document.policy)


def versions(connection: sa.Connection, policy_id: str | None = None) -> list[Version]:
    """Every version of one policy or of all."""
    query = sa.select(policies).order_by(policies.c.id, policies.c.version)
    if policy_id is not None:
        query = query.where(policies.c.id == policy_id)
    return [
        Version(
            row.id,
            int(row.version),
            row.sha256,
            PolicyState(row.state),
            row.drafted_at,
            row.approved_at,
            row.active_at,
            row.retired_at,
        )
        for row in connection.execute(query)
    ]


def _refuse_overlap(connection: sa.Connection, document: Document) -> None:
    """Of several rules the longest wins, and rules are compared within one policy: so a collection has only one."""
    mine = document.policy
    for version in versions(connection):
        if version.state is PolicyState.ACTIVE and version.id != mine.id:
            there = stored(connection, version.id, version.version).policy
            if both := sorted(set(mine.collections) & set(there.collections)):
                raise BlockedByPolicy(
                    f"policy {version.id!r} is in force for {', '.join(both)}; a collection has one policy, so that "
                    "its longest rule wins. Put all rules about it into one of the two"
                )


def _refuse_too_early(connection: sa.Connection, document: Document, now: datetime) -> None:
    """Against what is in force now, which another version may have become since the approvals."""
    wanted, there = needed_now(connection, document), valid(connection, document)
    what = _called(document.policy.id, document.policy.version)
    why = f" (it lets more go: {wanted.loosened[0].where})" if wanted.loosened else ""
    if len(there) < wanted.approvals:
        raise BlockedByPolicy(f"{what} has {len(there)} of {wanted.approvals} approvals{why}")
    begins = there[wanted.approvals - 1].signed_at + wanted.cooling_off
    if now < begins:
        raise BlockedByPolicy(f"{what} cools off until {begins:%Y-%m-%d %H:%M}Z{why}; activate it then")


def _row(connection: sa.Connection, policy_id: str, version: int) -> sa.Row[Any]:
    row = connection.execute(
        sa.select(policies).where(policies.c.id == policy_id, policies.c.version == version)
    ).one_or_none()
    if row is None:
        raise UsageError(f"{_called(policy_id, version)} is not known; `fwd2bot policy list` shows all")
    return row


def _move(
    connection: sa.Connection, policy_id: str, version: int, state: PolicyState, **times: datetime
) -> None:
    mine = policies.c.id == policy_id, policies.c.version == version
    connection.execute(policies.update().where(*mine).values(state=state, **times))


@dataclass(frozen=True, slots=True)
class _Step:
    """From one state to another, or to the same."""

    person: people.Person
    role: Role | None
    policy: dict[str, Any]  # a reference to the version
    before: PolicyState | None
    after: PolicyState
    at: datetime


def _note(
    connection: sa.Connection,
    type: str,
    step: _Step,
    reason: str | None = None,
    more: dict[str, Any] | None = None,
) -> None:
    event = Event(
        type=type,
        occurred_at=step.at,
        actor=step.person.actor(step.role),
        before={"state": str(step.before)} if step.before else None,
        after={"state": str(step.after), **(more or {})},
        reason_text=reason,
        policy=step.policy,
    )
    audit_log.append(connection, event)


def _called(policy_id: str, version: int) -> str:
    return f"version {version} of policy {policy_id!r}"

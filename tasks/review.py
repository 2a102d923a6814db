"""What people decide about a disposition list: to approve or to refuse it; and the age at which it is void.

An approval is a signature over the list's hash by somebody who wrote neither the list nor its policy; the last one that
is needed starts the grace period. One refusal ends the list. Knows nothing of how a list is made or carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import AccessDenied, BlockedByPolicy, IntegrityError, UsageError
from fwd2bot_core.retention import disposition
from fwd2bot_core.retention.disposition import ItemState, ListState, may_follow
from fwd2bot_core.retention.roles import Act, Role, may
from infra import audit_log
from infra.database import Ledger
from infra.installation import Installation
from infra.retention_tables import approvals, disposition_items, disposition_lists
from tasks import people, policies, policy_approvals
from tasks.destroy_checks import clock_is_sane
from tasks.destroy_order import times
from tasks.disposition import LIFE, grace_ends

_LIVE = (ListState.OPEN, ListState.GRACE)


@dataclass(frozen=True, slots=True)
class Said:
    """What one person said about a list; ``counts``: still, their signature verified again."""

    person: people.Person
    approved: bool
    reason: str
    signed_at: datetime
    counts: bool


def find(connection: sa.Connection, list_id: str) -> sa.Row[Any]:
    """Raises ``UsageError`` for a list that is not known."""
    row = connection.execute(
        sa.select(disposition_lists).where(disposition_lists.c.id == list_id)
    ).one_or_none()
    if row is None:
        raise UsageError(f"there is no disposition list {list_id!r}; `fwd2bot disposition lists` shows all")
    return row


def statement(connection: sa.Connection, list_id: str, person: str, *, approved: bool, reason: str) -> bytes:
    """The exact bytes that somebody signs about a list. Raises ``UsageError`` for no reason or an unknown list."""
    if not reason.strip():
        raise UsageError("say why: a decision about a list has a reason")
    row = find(connection, list_id)
    return disposition.statement(
        row.id, row.sha256, row.policy_sha256, person, approved=approved, reason=reason
    )


def approve(house: Installation, list_id: str, person: str, reason: str, signature: str) -> ListState:
    """One more approval; the state that follows.

    Raises ``AccessDenied``, after the log says so, ``BlockedByPolicy`` for a list that waits for none any more or while
    the clock is in doubt, and ``IntegrityError`` where the archive does not hold the list that would be approved.
    """
    return _decide(house, list_id, person, reason, signature, approved=True)


def refuse(house: Installation, list_id: str, person: str, reason: str, signature: str) -> ListState:
    """End a list that was not carried out; the same errors."""
    return _decide(house, list_id, person, reason, signature, approved=False)


def expire(ledger: Ledger) -> list[str]:
    """End lists that are too old to be approved or carried out, unless one is being carried out; their names."""
    under_way = sa.exists().where(
        disposition_items.c.list_id == disposition_lists.c.id,
        disposition_items.c.state.in_((ItemState.INTENT, ItemState.UNKNOWN)),
    )
    old = sa.and_(
        disposition_lists.c.state.in_(_LIVE), disposition_lists.c.expires_at <= audit_log.now(), ~under_way
    )
    with ledger.read() as connection:
        if connection.execute(sa.select(disposition_lists.c.id).where(old)).first() is None:
            return []
    with ledger.write() as connection:
        audit_log.hold(connection)
        rows = connection.execute(sa.select(disposition_lists).where(old)).all()
        actor = audit_log.actor(connection, "operator")
        for row in rows:
            _move(connection, row, ListState.EXPIRED, ended_at=audit_log.now())
            _note(connection, "list.expired", actor, row, ListState.EXPIRED)
    return [row.id for row in rows]


def said_of(connection: sa.Connection, row: sa.Row[Any]) -> list[Said]:
    """Everything that was signed about a list, oldest first."""
    known = {one.id: one for one in people.everybody(connection)}
    authors = {row.author_ref, policy_approvals.author_of(connection, row.policy_id, row.policy_version)}
    query = sa.select(approvals).where(approvals.c.list_id == row.id).order_by(approvals.c.signed_at)
    return [
        Said(
            known[one.person_id],
            one.approved,
            one.reason,
            one.signed_at,
            _counts(one, row, known[one.person_id], authors),
        )
        for one in connection.execute(query)
    ]


def _decide(
    house: Installation, list_id: str, person: str, reason: str, signature: str, *, approved: bool
) -> ListState:
    act, what, ledger = Act.APPROVE_LIST if approved else Act.REFUSE_LIST, f"list {list_id}", house.ledger
    with ledger.read() as connection:
        row = find(connection, list_id)
        said = statement(connection, list_id, person, approved=approved, reason=reason)
    people.signed(ledger, person, act, what, said, signature)
    if approved and house.archive.sha256(row.path) != row.sha256:
        raise IntegrityError(f"{row.path} in the archive is not list {list_id} as it was made; refuse it")
    with people.refusals(ledger, person, act, what), ledger.write() as connection:
        audit_log.hold(connection)
        row, someone = find(connection, list_id), people.find(connection, person)
        given = {"reason": reason, "statement": said, "signature": signature}
        if approved:
            clock_is_sane(times(house, connection))  # else its grace could be over before it began
            return _approved(connection, row, someone, given)
        return _refused(connection, row, someone, given)


def _approved(
    connection: sa.Connection, row: sa.Row[Any], person: people.Person, given: dict[str, Any]
) -> ListState:
    at = audit_log.now()
    if row.state != ListState.OPEN or row.expires_at <= at:
        state = row.state if row.state != ListState.OPEN else ListState.EXPIRED
        raise BlockedByPolicy(f"list {row.id} is {state}; it waits for no approval")
    document = policies.active(connection, row.policy_id)
    if document.sha256 != row.policy_sha256:
        raise BlockedByPolicy(f"list {row.id} was made under a policy that is not in force; make a new one")
    _refuse_own(connection, row, person)
    _keep(connection, row, person, True, given, at)
    count = sum(one.approved and one.counts for one in said_of(connection, row))
    after = {"approvals": count, "needed": row.approvals}
    state = ListState.OPEN
    if count >= row.approvals:
        state, ends = ListState.GRACE, grace_ends(document.policy, at)
        _move(connection, row, state, grace_until=ends, expires_at=ends + LIFE)
        after["grace_until"] = ends.isoformat()
    _note(connection, "list.approved", person.actor(Role.APPROVER), row, state, given, after)
    return state


def _refused(
    connection: sa.Connection, row: sa.Row[Any], person: people.Person, given: dict[str, Any]
) -> ListState:
    """Also by who approved it before, or wrote it: to keep something, anybody may change their mind."""
    if not may_follow(ListState(row.state), ListState.REFUSED):
        raise BlockedByPolicy(f"list {row.id} is {row.state}; there is nothing to refuse any more")
    at = audit_log.now()
    mine = sa.and_(approvals.c.list_id == row.id, approvals.c.person_id == person.id)
    connection.execute(approvals.delete().where(mine))  # the log keeps it
    _keep(connection, row, person, False, given, at)
    _move(connection, row, ListState.REFUSED, ended_at=at)
    _note(connection, "list.refused", person.actor(), row, ListState.REFUSED, given)
    return ListState.REFUSED


def _refuse_own(connection: sa.Connection, row: sa.Row[Any], person: people.Person) -> None:
    if person.ref == row.author_ref:
        raise AccessDenied(f"{person.name!r} made list {row.id}, so somebody else must approve it")
    if person.ref == policy_approvals.author_of(connection, row.policy_id, row.policy_version):
        raise AccessDenied(
            f"{person.name!r} wrote the policy of list {row.id}; somebody else must approve it"
        )
    mine = sa.and_(approvals.c.list_id == row.id, approvals.c.person_id == person.id)
    if connection.execute(sa.select(approvals.c.approved).where(mine)).first() is not None:
        raise AccessDenied(f"{person.name!r} decided about list {row.id} already; nobody counts twice")


def _counts(one: sa.Row[Any], row: sa.Row[Any], person: people.Person, authors: set[str]) -> bool:
    act = Act.APPROVE_LIST if one.approved else Act.REFUSE_LIST
    if person.revoked or not may(person.roles, act) or (one.approved and person.ref in authors):
        return False
    about = {"list": row.id, "list_sha256": row.sha256, "policy_sha256": row.policy_sha256}
    about |= {"decision": "approve" if one.approved else "refuse", "reason": one.reason}
    return people.has_signed(person, one.statement, one.signature, about)


def _keep(
    connection: sa.Connection,
    row: sa.Row[Any],
    person: people.Person,
    approved: bool,
    given: dict[str, Any],
    at: datetime,
) -> None:
    connection.execute(
        approvals.insert().values(
            list_id=row.id, person_id=person.id, approved=approved, signed_at=at, **given
        )
    )


def _move(connection: sa.Connection, row: sa.Row[Any], state: ListState, **times: datetime) -> None:
    mine = disposition_lists.c.id == row.id
    connection.execute(disposition_lists.update().where(mine).values(state=state, **times))


def _note(
    connection: sa.Connection,
    type: str,
    actor: Any,
    row: sa.Row[Any],
    state: ListState,
    given: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
) -> None:
    after: dict[str, Any] = {"state": str(state), **(more or {})}
    if given:
        after["signature"] = audit_log.reference(connection, "signature", given["signature"])
    event = Event(
        type=type,
        occurred_at=audit_log.now(),
        actor=actor,
        subject={"list": row.id, "list_sha256": row.sha256},
        before={"state": str(row.state)},
        after=after,
        reason_text=given["reason"] if given else None,
        policy={"id": row.policy_id, "version": row.policy_version, "sha256": row.policy_sha256},
    )
    audit_log.append(connection, event)

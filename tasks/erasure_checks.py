"""What forbids an erasure: no signature that counts, a hold, a duty to keep, a list or a run that deals with a photo.

Asked for a dry run, in the transaction that writes intents, and again before anything of a photo goes. Reads the
ledger; writes nothing and asks no store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.errors import BlockedByPolicy, IntegrityError
from fwd2bot_core.retention.disposition import ItemState as ListedState
from fwd2bot_core.retention.disposition import ListState
from fwd2bot_core.retention.erasure import ItemState, State, digest, duties
from fwd2bot_core.retention.facts import Clock
from fwd2bot_core.retention.roles import Act, may
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.checkpoints import newest
from infra.installation import Installation
from infra.object_facts import facts
from infra.retention_tables import disposition_items, disposition_lists
from infra.tables import WorkState, work
from tasks import erasure, people, policies
from tasks.destroy_checks import clock_is_sane
from tasks.destroy_order import times
from tasks.policies import PolicyState

_OPEN = (ListedState.LISTED, ListedState.INTENT, ListedState.UNKNOWN)
_LIVE = (ListState.OPEN, ListState.GRACE)
ENDED = (State.DONE, State.REFUSED)


@dataclass(frozen=True, slots=True)
class Line:
    """One object version as a run sees it; no reason: it may be erased."""

    number: int
    collection: str
    key: str
    reasons: tuple[str, ...] = ()


def survey(house: Installation, connection: sa.Connection, row: sa.Row[Any]) -> list[Line]:
    """Each photo that is not erased yet, with all that forbids it now."""
    units = erasure.units_of(connection, row.id, ItemState.PLANNED, ItemState.INTENT)
    why = forbidden(connection, units)
    return [
        Line(u.object_version_id, u.collection, u.key, tuple(why.get(u.object_version_id, ()))) for u in units
    ]


def check_whole(house: Installation, connection: sa.Connection, row: sa.Row[Any]) -> None:
    """Raises ``BlockedByPolicy`` for an erasure that must not be carried out, ``IntegrityError`` for another one than
    was signed."""
    clock_is_sane(times(house, connection))
    if row.state not in (State.APPROVED, State.RUNNING):
        raise BlockedByPolicy(f"erasure {row.id} is {row.state}, not approved; nothing was erased")
    units = erasure.units_of(connection, row.id, ItemState.PLANNED, ItemState.INTENT)
    if digest(units) != row.sha256:
        raise IntegrityError(f"erasure {row.id} is about other photos than were signed; nothing was erased")
    more = len(erasure.with_copies(connection, units)) - len(units)
    if more:
        raise BlockedByPolicy(
            f"{more:,} more photos with the same bytes came since erasure {row.id} was planned; refuse it, and plan it "
            "again, so that nothing is left of them"
        )
    _require_signature(connection, row)


def _require_signature(connection: sa.Connection, row: sa.Row[Any]) -> None:
    person = next((one for one in people.everybody(connection) if one.id == row.approver_id), None)
    about = {"decision": "erase", "erasure": row.id, "sha256": row.sha256}
    counts = (
        person is not None
        and not person.revoked
        and person.ref != row.author_ref
        and may(person.roles, Act.APPROVE_ERASURE)
        and people.has_signed(person, row.statement, row.signature, about)
    )
    if not counts:
        raise BlockedByPolicy(
            f"nobody's signature counts under erasure {row.id} any more; nothing was erased"
        )


def forbidden(connection: sa.Connection, units: Sequence[Unit]) -> dict[int, list[str]]:
    """Why photos must not be erased, by object version; those that may are left out."""
    numbers = [unit.object_version_id for unit in units]
    found: dict[int, list[str]] = {}
    for number, why in [*_held_or_owed(connection, numbers), *_dealt_with(connection, numbers)]:
        found.setdefault(number, []).append(why)
    return found


def _held_or_owed(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
    clock = Clock(audit_log.now())
    active = [
        policies.stored(connection, version.id, version.version).policy
        for version in policies.versions(connection)
        if version.state is PolicyState.ACTIVE
    ]
    for photo in facts(connection, numbers):
        for hold in photo.holds:
            yield photo.id, "legal hold" + ("" if hold.confidential else f" {hold.name}")
        for policy in active:
            yield from ((photo.id, f"legal duty {one}") for one in duties(policy, photo, clock))


def _dealt_with(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
    item, mine = disposition_items.c, disposition_items.c.object_version_id.in_(numbers)
    lists = (
        sa.select(item.object_version_id, item.list_id)
        .join(disposition_lists, disposition_lists.c.id == item.list_id)
        .where(mine, item.state.in_(_OPEN), disposition_lists.c.state.in_(_LIVE))
    )
    for number, name in connection.execute(lists):
        yield (
            number,
            f"disposition list {name} is about it: carry that out, or rescue the photo from it, first",
        )
    claimed = sa.and_(work.c.object_version_id.in_(numbers), work.c.state == WorkState.CLAIMED)
    for number in connection.execute(sa.select(work.c.object_version_id).where(claimed)).scalars():
        yield number, "a run has it in hand: once more when that has ended"


def token_of(connection: sa.Connection, row: sa.Row[Any], lines: Sequence[Line]) -> str:
    """32 hex digits over what a dry run shows and the ledger's newest checkpoint."""
    last = newest(connection)
    shown = {
        "erasure": row.id,
        "sha256": row.sha256,
        "state": row.state,
        "checkpoint": None if last is None else {"size": last.size, "root": last.root.hex()},
        "items": [[line.number, list(line.reasons)] for line in lines],
    }
    return hashlib.sha256(canonical(shown)).hexdigest()[:32]

"""What would go, and why not: a list and its items held against every guard that the ledger alone can answer.

Asked for a dry run, before a run, and again in the transaction that writes intents. Reads; writes nothing and asks no
store. Knows nothing of what is done about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.errors import Fwd2BotError
from fwd2bot_core.retention.decide import decide
from fwd2bot_core.retention.disposition import ItemState
from fwd2bot_core.retention.facts import Clock
from infra import audit_log, object_facts
from infra.checkpoints import newest
from infra.installation import Installation
from tasks import destroy_checks as checks
from tasks.destroy_checks import Kept
from tasks.destroy_order import Item, Order, approvals_of, blast, elsewhere, items, list_row, times
from tasks.standing import standing

CHUNK = 500  # items decided with one set of queries
OPEN = (ItemState.LISTED, ItemState.INTENT, ItemState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Line:
    """One item as a run sees it: would it go, and if not, why."""

    number: int  # object version
    key: str
    bytes: int
    state: ItemState
    goes: bool
    reason: str = ""
    detail: str = ""
    fidelity: int | None = None  # millionths, measured now


def survey(
    house: Installation, connection: sa.Connection, order: Order
) -> tuple[list[Line], Fwd2BotError | None]:
    """Each open item with the decision of now, and what forbids the list as a whole, if anything does."""
    open_ones = items(connection, order, OPEN)
    why = verdicts(house, connection, order, open_ones)
    lines = [line_of(item, why.get(item.id)) for item in open_ones]
    going = [item for item in open_ones if item.id not in why]
    try:
        check_list(house, connection, order, going)
    except Fwd2BotError as problem:
        return lines, problem
    return lines, None


def line_of(item: Item, kept: Kept | None) -> Line:
    reason, detail = (kept.reason, kept.detail) if kept else ("", "")
    return Line(item.id, item.unit.key, item.unit.size, item.state, kept is None, reason, detail)


def check_list(house: Installation, connection: sa.Connection, order: Order, going: Sequence[Item]) -> None:
    """All guards about the list as a whole, asked of the ledger as it is in this transaction."""
    row, policy, now = list_row(connection, order.list_id), order.document.policy, audit_log.now()
    authors = frozenset({row.author_ref, row.policy_author_ref})
    about = {
        "decision": "approve",
        "list": row.id,
        "list_sha256": row.sha256,
        "policy_sha256": row.policy_sha256,
    }
    needed = checks.approvals_needed(policy, row.approvals)
    checks.clock_is_sane(times(house, connection))
    checks.list_is_the_signed_one(order.manifest, row.sha256)
    checks.list_is_approved(row.state, needed, approvals_of(connection, row.id), authors, about)
    checks.grace_is_over(row.grace_until, now)
    checks.list_is_not_expired(row.expires_at, now)
    checks.policy_is_in_force(order.document, row.policy_state, row.meaning_sha256, row.policy_sha256)
    checks.within_limits(policy.limits, blast(connection, order, going, now))


def verdicts(
    house: Installation, connection: sa.Connection, order: Order, some: Sequence[Item]
) -> dict[int, Kept]:
    """Why items must not go, by object version; those that may are left out."""
    found = dict[int, Kept]()
    about, clock = standing(house, connection, order.collection), Clock(audit_log.now())
    for part in parts(some, CHUNK):
        numbers = [item.id for item in part]
        photos = {photo.id: photo for photo in object_facts.facts(connection, numbers)}
        others = elsewhere(connection, order, numbers)
        for item in part:
            try:
                checks.item_is_on_the_list(order.lines.get(item.id), item.as_listed())
                checks.still_listed(item.state)
                checks.only_here(others.get(item.id, []), item.destroyed_seq)
                checks.names_one_version(item.unit.identity)
                checks.decided_to_go(decide(order.document.policy, photos[item.id], about, clock))
            except Kept as kept:
                found[item.id] = kept
    return found


def token_of(connection: sa.Connection, order: Order, lines: Sequence[Line]) -> str:
    """32 hex digits over what a dry run shows, the policy, the list and the ledger's newest checkpoint."""
    last = newest(connection)
    shown = {
        "list": order.list_id,
        "manifest": hashlib.sha256(order.manifest).hexdigest(),
        "policy": order.document.sha256,
        "checkpoint": None if last is None else {"size": last.size, "root": last.root.hex()},
        "items": [[line.number, str(line.state), line.goes, line.reason, line.detail] for line in lines],
    }
    return hashlib.sha256(canonical(shown)).hexdigest()[:32]


def parts(some: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(some), size):
        yield some[start : start + size]

"""One policy's turn in a retention run: carry out lists whose grace is over, or else make new ones. Never both.

A list that this turn makes is not there when it is asked which ones are due; so what is destroyed was listed by an
earlier run, whatever the policy's grace. Without ``act`` nothing is written: the same questions, and what would be.
What goes wrong with one policy is told in its turn and stops no other. Knows nothing of how lists are made or carried
out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from fwd2bot_core.errors import ExitCode, Fwd2BotError, UsageError
from fwd2bot_core.retention.disposition import ItemState, ListState
from fwd2bot_core.retention.facts import Clock
from fwd2bot_core.retention.policy import Observe
from fwd2bot_core.retention.policy_file import Document
from infra import audit_log
from infra.installation import Installation
from infra.policy_sql import Terms
from infra.retention_tables import disposition_items, disposition_lists, policies
from infra.tables import collections, object_versions
from tasks import candidates, disposition
from tasks.destroy import execute
from tasks.destroy_order import read_order
from tasks.destroy_survey import survey, token_of
from tasks.policies import PolicyState, active
from tasks.simulation import simulate
from tasks.standing import standing

Progress = Callable[[int, int], None]


class Did(StrEnum):
    """What a turn was for."""

    CARRIED_OUT = "carried out"
    LISTED = "listed"
    OBSERVED = "observed"  # the policy lets nothing go yet
    NOTHING = "nothing"  # see its problem


@dataclass(slots=True)
class OneList:
    """A list that was made or carried out, or would be. ``objects`` and ``bytes``: listed, or destroyed."""

    id: str  # empty: it does not exist yet
    collection: str
    objects: int = 0
    bytes: int = 0
    kept: int = 0  # stay after all
    unknown: int = 0  # a store did not say
    reasons: dict[str, int] = field(default_factory=dict)  # why items of it stay
    problem: str | None = None


@dataclass(slots=True)
class Turn:
    """What became of one policy's turn."""

    policy: str
    did: Did = Did.NOTHING
    lists: list[OneList] = field(default_factory=list)
    reasons: dict[str, int] = field(
        default_factory=dict
    )  # photos that stay, by condition; one may have several
    problem: str | None = None
    exit_code: ExitCode = ExitCode.OK

    def went_wrong(self, error: Fwd2BotError) -> str:
        self.exit_code = max(self.exit_code, error.exit_code)
        return f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Whose turn it is, and with which lists: as the ledger was before the run did anything."""

    policy: str
    due: tuple[tuple[str, str], ...]  # list and collection


def plans(house: Installation) -> list[Plan]:
    """A turn for each policy with an active version, and for each with a list that is due."""
    with house.ledger.read() as connection:
        found = due(connection, audit_log.now())
        names = connection.execute(sa.select(policies.c.id).where(policies.c.state == PolicyState.ACTIVE))
        return [Plan(name, tuple(found.get(name, ()))) for name in sorted({*names.scalars(), *found})]


def due(connection: sa.Connection, at: datetime) -> dict[str, list[tuple[str, str]]]:
    """Approved lists whose grace is over and that have not come to an end, by policy; oldest first."""
    row = disposition_lists.c
    query = (
        sa.select(row.policy_id, row.id, collections.c.name)
        .join(collections, collections.c.id == row.collection_id)
        .where(row.state == ListState.GRACE, row.grace_until <= at, row.made_at <= at)
        .order_by(row.made_at, row.id)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for policy, list_id, name in connection.execute(query):
        found.setdefault(policy, []).append((list_id, name))
    return found


def old_lists(house: Installation) -> list[str]:
    """Those that ``review.expire`` would end."""
    row, item = disposition_lists.c, disposition_items.c
    under_way = sa.exists().where(
        item.list_id == row.id, item.state.in_((ItemState.INTENT, ItemState.UNKNOWN))
    )
    live = row.state.in_((ListState.OPEN, ListState.GRACE))
    query = sa.select(row.id).where(live, row.expires_at <= audit_log.now(), ~under_way).order_by(row.id)
    with house.ledger.read() as connection:
        return list(connection.execute(query).scalars())


def take_turn(
    house: Installation,
    plan: Plan,
    *,
    act: bool,
    author: str | None,
    role: str,
    progress: Progress = lambda *_: None,
) -> Turn:
    """One policy's turn. ``author``: the registered person in whose name lists are made. Raises no ``Fwd2BotError``."""
    turn = Turn(plan.policy)
    try:
        if plan.due:
            turn.did = Did.CARRIED_OUT
            turn.lists = [_carried_out(house, turn, *one, act, role, progress) for one in plan.due]
        else:
            _list(house, turn, act, author)
    except Fwd2BotError as error:
        turn.problem = turn.went_wrong(error)
    return turn


def _carried_out(
    house: Installation, turn: Turn, list_id: str, collection: str, act: bool, role: str, progress: Progress
) -> OneList:
    """One list, or what would go by it; one that must not be carried out stops no other one."""
    told = OneList(list_id, collection)
    _, before = _destroyed(house, list_id)
    try:
        token = _token(house, list_id) if act else None
        done = execute(house, list_id, role=role, token=token, dry_run=not act, progress=progress)
    except Fwd2BotError as error:
        told.problem = turn.went_wrong(error)
        if act:
            _settle(house, told, turn, role)
        return told
    told.unknown = done.unknown + len(done.waiting)
    if act:
        told.objects, told.kept = done.destroyed, done.kept
        told.bytes = _destroyed(house, list_id)[1] - before
        told.reasons = _reasons(house, list_id)
    else:
        goes = [line for line in done.lines if line.goes and line.number not in done.waiting]
        told.objects, told.bytes = len(goes), sum(line.bytes for line in goes)
        told.reasons = dict(Counter(line.reason for line in done.lines if not line.goes))
        told.kept = sum(told.reasons.values())
    if told.unknown:
        turn.exit_code = max(turn.exit_code, ExitCode.PARTLY_FAILED)
    return told


def _token(house: Installation, list_id: str) -> str:
    """That of a dry run at this moment, without measuring everything twice: the run itself measures again anyway."""
    order = read_order(house, list_id)
    with house.ledger.read() as connection:
        lines, problem = survey(house, connection, order)
        if problem is not None:
            raise problem
        return token_of(connection, order, lines)


def _settle(house: Installation, told: OneList, turn: Turn, role: str) -> None:
    """A refused list may have intents of an earlier run: the run that destroys asks after them, and takes them back."""
    try:
        execute(house, told.id, role=role, dry_run=False)
    except UsageError:
        pass  # it could begin now, and has no token: the next run
    except Fwd2BotError as error:
        turn.went_wrong(error)


def _destroyed(house: Installation, list_id: str) -> tuple[int, int]:
    """Of a list, so far: how many, and bytes."""
    item, photo = disposition_items.c, object_versions.c
    query = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(photo.size), 0))
        .join_from(disposition_items, object_versions, photo.id == item.object_version_id)
        .where(item.list_id == list_id, item.state == ItemState.DESTROYED)
    )
    with house.ledger.read() as connection:
        objects, size = connection.execute(query).one()
    return int(objects), int(size)


def _reasons(house: Installation, list_id: str) -> dict[str, int]:
    """Why items of a list left the straight way."""
    item = disposition_items.c
    query = sa.select(item.reason, sa.func.count()).where(item.list_id == list_id, item.reason.is_not(None))
    with house.ledger.read() as connection:
        rows = connection.execute(query.group_by(item.reason).order_by(item.reason)).all()
    return {reason: int(count) for reason, count in rows}


def _list(house: Installation, turn: Turn, act: bool, author: str | None) -> None:
    with house.ledger.read() as connection:
        document = active(connection, turn.policy)
    simulated = simulate(house, document, against=document)
    turn.reasons = {str(name): one.all.objects for name, one in simulated.stopped.items() if one.all.objects}
    if isinstance(document.policy.rollout, Observe):
        turn.did = Did.OBSERVED
        return
    turn.did = Did.LISTED
    if not act:
        turn.lists = _would_list(house, document)
        return
    if author is None:
        turn.did = Did.NOTHING
        raise UsageError("no list was made: name who makes it, with --as or the setting retention.author")
    made = disposition.make(house, turn.policy, author)
    turn.lists = [OneList(one.id, one.collection, one.objects, one.bytes) for one in made]


def _would_list(house: Installation, document: Document) -> list[OneList]:
    """What ``disposition.make`` would name, with its limits."""
    policy = document.policy
    with house.ledger.read() as connection:
        known = [name for name in policy.collections if name in house.settings.collections]
        standings = {name: standing(house, connection, name) for name in known}
        candidates.choose(connection, Terms(policy, standings, Clock(audit_log.now())))
        lists = []
        for collection, found in candidates.items(connection):
            one = OneList("", collection.name)
            for item in found:
                one.objects, one.bytes = one.objects + 1, one.bytes + item.size
            lists.append(one)
        candidates.chosen.drop(connection)
    return lists

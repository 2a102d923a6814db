"""Destruction of originals, in one straight line: look, intend, anchor, delete, confirm; everything else keeps them.

    look      read everything afresh, measure fidelity while the original exists       nothing written
    intend    in one transaction: all guards again, one event an object version        destroy.intended
    anchor    a checkpoint that covers these events is signed and kept outside         destroy.anchored
    delete    under the log's head, which whoever places a hold takes too: no hold,    destroy.deleted
              the intent stands; then exactly this version
    confirm   the store is asked where it is; event, certificate, state                destroy.confirmed

Whoever dies in between leaves items in INTENT; the next run first asks the store what became of them. A dry run is the
same code up to the first intent, and gives a token over what it showed. Knows the order of things; every question is
``destroy_checks``', every row ``destroy_ledger``'s, every request ``destroy_store``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from fwd2bot_core.errors import BlockedByPolicy, Fwd2BotError, UsageError
from fwd2bot_core.retention.disposition import ItemState
from infra import audit_log
from infra.checkpoints import sign_checkpoint
from infra.crashpoints import reach
from infra.installation import Installation
from infra.objects import ObjectStore
from tasks import destroy_checks as checks
from tasks import destroy_ledger as ledger
from tasks import destroy_store as stores
from tasks.destroy_checks import GONE_UNANCHORED, Kept
from tasks.destroy_ledger import End
from tasks.destroy_order import (
    Item,
    Order,
    anchored,
    approvals_of,
    items,
    read_order,
    times,
)
from tasks.destroy_store import Answer, Judge, Looked, Together, Whereabouts
from tasks.destroy_survey import OPEN, Line, check_list, line_of, parts, survey, token_of, verdicts
from tasks.holds import held_now

BATCH = 200  # items between two checkpoints
LOOKED_AT = 50  # originals in memory
AT_ONCE = 8  # requests that wait for the store together
_GOING = (ItemState.LISTED, ItemState.INTENT)

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Outcome:
    """What a run, dry or not, found and did."""

    list_id: str
    dry_run: bool
    token: str  # over what was shown; another state of affairs has another one
    lines: list[Line]
    destroyed: int = 0
    kept: int = 0  # left the straight way in this run
    unknown: int = 0  # the store did not say; asked again by the next run
    waiting: dict[int, str] = field(default_factory=dict)  # nothing was decided: a store did not answer
    done: bool = False  # the list has come to its end


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run works with."""

    house: Installation
    order: Order
    role: str
    store: ObjectStore  # of the originals; one for the run, since to reach a store anew takes longer than a request
    found: Outcome
    together: Together = stores.one_by_one


def execute(
    house: Installation,
    list_id: str,
    *,
    role: str = "operator",
    token: str | None = None,
    dry_run: bool = True,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Carry a list out, or show what would go. ``token``: that of a dry run, which must still be true.

    Raises ``BlockedByPolicy`` when the list as a whole must not be carried out (standing intents are taken back first,
    unless the clock is in doubt), ``UsageError`` without a token or for one of something else.
    """
    order = read_order(house, list_id)
    with house.ledger.read() as connection:
        checks.clock_is_sane(times(house, connection))
        lines, problem = survey(house, connection, order)
        found = Outcome(list_id, dry_run, token_of(connection, order, lines), lines)
    if problem is None and not dry_run:
        _require_token(token, found.token)
    with stores.asking(AT_ONCE) as together:
        run = _Run(house, order, role, house.originals(order.collection), found, together)
        if not dry_run:
            _settle(run)
        if problem is not None:
            if not dry_run:
                _take_back(run, problem)
            raise problem
        by = stores.judge(house, order)
        (_show if dry_run else _carry_out)(run, by, progress)
    return found


def _require_token(given: str | None, now: str) -> None:
    if given is None:
        raise UsageError("nothing is destroyed without the token of a dry run; run it without --yes first")
    if given != now:
        raise UsageError(
            "the token is of something else than what is there now: an item, a decision, the policy or the audit "
            "log's checkpoint has changed. Nothing was destroyed; look at a new dry run"
        )


def _show(run: _Run, by: Judge, progress: Progress) -> None:
    """The dry run's look at every item that would go; writes nothing."""
    found = run.found
    with run.house.ledger.read() as connection:
        going = {item.id: item for item in items(connection, run.order, _GOING)}
    shown = {line.number: line for line in found.lines}
    wanted = [going[line.number] for line in found.lines if line.goes]
    for done, part in enumerate(parts(wanted, LOOKED_AT)):
        looked = _look(run, by, part)
        found.waiting |= looked.waiting
        for item in part:
            if (kept := looked.kept.get(item.id)) is not None:
                shown[item.id] = line_of(item, kept)
            elif (said := looked.faithful.get(item.id)) is not None:
                shown[item.id] = replace(shown[item.id], fidelity=said["fidelity_millionths"])
        progress(min((done + 1) * LOOKED_AT, len(wanted)), len(wanted))
    found.lines = list(shown.values())


def _carry_out(run: _Run, by: Judge, progress: Progress) -> None:
    with run.house.ledger.read() as connection:
        open_ones = items(connection, run.order, _GOING)
    for done, part in enumerate(parts(open_ones, BATCH)):
        _destroy(run, by, part)
        progress(min((done + 1) * BATCH, len(open_ones)), len(open_ones))
    with run.house.ledger.write() as connection:
        audit_log.hold(connection)
        run.found.done = ledger.end(connection, run.order, audit_log.actor(connection, run.role))
    reach("destroy.ended")


def _destroy(run: _Run, by: Judge, part: Sequence[Item]) -> None:
    """The straight line, for one batch."""
    looked = _look(run, by, part)
    run.found.waiting |= looked.waiting
    meant, last = _intend(run, part, looked)
    if last is None:
        return
    reach("destroy.intended")
    signed = sign_checkpoint(run.house, reason="destruction", role=run.role)
    checks.log_is_anchored(signed.size, len(signed.anchored), last)
    reach("destroy.anchored")
    ends = list[tuple[int, Answer, Whereabouts]]()
    for group in parts(meant, AT_ONCE):
        answers, kept = _delete(run, group)
        for _ in answers:
            reach("destroy.deleted")
        for number, why in kept.items():
            _write_end(run, number, why)
        asked = [item for item in group if item.id in answers]
        found = run.together(partial(stores.whereabouts, run.store), asked)
        ends += ((item.id, answers[item.id], where) for item, where in zip(asked, found, strict=True))
    _confirm(run, ends)
    reach("destroy.confirmed")


def _look(run: _Run, by: Judge, some: Sequence[Item]) -> Looked:
    """At a few after the other, since an original stays in memory until it is measured."""
    found = Looked()
    for few in parts(some, LOOKED_AT):
        seen = stores.look(run.house, run.order, by, run.store, few, run.together)
        found = Looked(found.faithful | seen.faithful, found.kept | seen.kept, found.waiting | seen.waiting)
    return found


def _intend(run: _Run, part: Sequence[Item], looked: Looked) -> tuple[list[Item], int | None]:
    """Ask all guards again and write the intents, in one transaction: what may be deleted, and the last intent."""
    order = run.order
    with run.house.ledger.write() as connection:
        audit_log.hold(connection)
        actor = audit_log.actor(connection, run.role)
        now = items(connection, order, ItemState, [item.id for item in part], lock=True)
        kept = verdicts(run.house, connection, order, now) | looked.kept
        meant = [item for item in now if item.id not in kept and item.id in looked.faithful]
        check_list(run.house, connection, order, meant)
        for item in now:
            if item.id in kept:
                run.found.kept += ledger.leave(connection, order, actor, item, kept[item.id])
        new = [item for item in meant if item.state is not ItemState.INTENT]
        approved = sorted(one.ref for one in approvals_of(connection, order.list_id) if one.approved)
        said = {item.id: {**looked.faithful[item.id], "approvals": approved} for item in new}
        ledger.intend(connection, order, actor, said, new)
        meant = items(connection, order, [ItemState.INTENT], [item.id for item in meant])
    return meant, max((item.intent_seq for item in meant if item.intent_seq is not None), default=None)


def _delete(run: _Run, group: Sequence[Item]) -> tuple[dict[int, Answer], dict[int, Kept]]:
    """Delete some versions together while nobody can place a hold or take their intents back: what the store answered,
    and those that stay; by object version.

    The only transaction that waits for a store: a hold is placed either before, and met here, or after, and sees that
    the version has gone.
    """
    kept, going = dict[int, Kept](), list[Item]()
    with run.house.ledger.write() as connection:
        audit_log.hold(connection)
        numbers = [item.id for item in group]
        held = held_now(connection, numbers)
        for item in items(connection, run.order, ItemState, numbers, lock=True):
            try:
                checks.intent_stands(item.state, item.intent_seq)
                checks.not_held(held.get(item.id, []))
            except Kept as why:
                kept[item.id] = why
            else:
                going.append(item)
        answers = run.together(partial(stores.delete, run.store), going)
    return {item.id: answer for item, answer in zip(going, answers, strict=True)}, kept


def _confirm(run: _Run, ends: Sequence[tuple[int, Answer, Whereabouts]]) -> None:
    """Write down what became of items, by what the store says of where they are."""
    if not ends:
        return
    with run.house.ledger.write() as connection:
        audit_log.hold(connection)
        actor, outside = audit_log.actor(connection, run.role), anchored(connection)
        numbers = [number for number, _, _ in ends]
        now = {item.id: item for item in items(connection, run.order, OPEN, numbers, lock=True)}
        gone = list[End]()
        for number, answer, where in ends:
            if number not in now:
                continue  # another run was quicker
            item = now[number]
            try:
                checks.is_gone(where.gone, answer is Answer.FORBIDDEN)
                checks.gone_by_our_hand(item.intent_seq is not None and item.intent_seq < outside)
            except Kept as kept:
                ledger.leave(connection, run.order, actor, item, kept)
                run.found.unknown += kept.state is ItemState.UNKNOWN
                run.found.kept += kept.state is not ItemState.UNKNOWN
            else:
                gone.append(End(item, str(answer), where.others))
        ledger.confirm(connection, run.order, actor, gone)
        run.found.destroyed += len(gone)


def _write_end(run: _Run, number: int, kept: Kept) -> None:
    with run.house.ledger.write() as connection:
        audit_log.hold(connection)
        actor = audit_log.actor(connection, run.role)
        for item in items(connection, run.order, OPEN, [number], lock=True):
            run.found.kept += ledger.leave(connection, run.order, actor, item, kept)
    reach("destroy.withdrawn")


def _settle(run: _Run) -> None:
    """Ask the store what became of items that an earlier run left open. Deletes nothing."""
    with run.house.ledger.read() as connection:
        left = items(connection, run.order, [ItemState.INTENT, ItemState.UNKNOWN])
    open_ones = [item for item in left if item.reason != GONE_UNANCHORED]
    found = run.together(partial(stores.whereabouts, run.store), open_ones)
    asked = list(zip(open_ones, found, strict=True))
    there = [item.id for item, where in asked if where.gone is False and item.state is ItemState.UNKNOWN]
    _confirm(run, [(item.id, Answer.NOT_ASKED, where) for item, where in asked if where.gone is True])
    if there:
        with run.house.ledger.write() as connection:
            audit_log.hold(connection)
            for item in items(connection, run.order, [ItemState.UNKNOWN], there, lock=True):
                ledger.intend_again(connection, run.order, item)
    reach("destroy.settled")


def _take_back(run: _Run, problem: Fwd2BotError) -> None:
    """The list must not be carried out any more: nor must the intents of an earlier run."""
    reason = "list" if isinstance(problem, BlockedByPolicy) else "integrity"
    with run.house.ledger.write() as connection:
        audit_log.hold(connection)
        actor = audit_log.actor(connection, run.role)
        for item in items(connection, run.order, [ItemState.INTENT], lock=True):
            ledger.leave(connection, run.order, actor, item, Kept(ItemState.BLOCKED, reason, str(problem)))
    reach("destroy.withdrawn")

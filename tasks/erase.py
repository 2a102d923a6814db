"""Erasing photos from everywhere, in one straight line: survey, intend, anchor, delete, look again, forget.

    intend    in one transaction: everything that may forbid it again, one event a photo      erase.intended
    anchor    a checkpoint that covers these events is signed and kept outside                 erase.anchored
    delete    originals, version by version while nobody can place a hold                      erase.deleted
              shards written again without them, lists, indexes, manifests                     erase.tidied
    look      every store is asked again; while anything is left nothing is forgotten
    forget    in one transaction: an event a photo, and then all that names it in the ledger   erase.forgotten

Whoever dies in between leaves intents; the same command goes on from there, each step once more. A dry run is the same
survey, and gives a token over what it showed. Knows the order of things; the steps are other modules'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from fwd2bot_core.errors import BlockedByPolicy, IntegrityError, UsageError
from fwd2bot_core.retention.erasure import ItemState, State
from fwd2bot_core.work import Unit
from infra import audit_log, pairing
from infra.checkpoints import sign_checkpoint
from infra.crashpoints import reach
from infra.erasure_tables import erasure_items
from infra.installation import Installation
from infra.tables import object_versions
from tasks import erase_ledger, erase_stores, erase_tokens, erasure, states
from tasks import erasure_checks as checks
from tasks.destroy_checks import log_is_anchored
from tasks.erase_stores import Remains
from tasks.erasure_checks import Line

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Outcome:
    """What a run, dry or not, found and did."""

    erasure_id: str
    dry_run: bool
    token: str
    lines: list[Line]
    shards: int = 0  # written again in this run
    lists: int = 0  # whose lines were deleted in this run
    left: list[Remains] = field(default_factory=list)  # while there is anything, nothing is forgotten
    done: bool = False


def erase(
    house: Installation,
    erasure_id: str,
    *,
    role: str = "operator",
    token: str | None = None,
    dry_run: bool = True,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Carry an erasure out, or show what would be erased. ``token``: that of a dry run, which must still be true.

    Raises ``BlockedByPolicy`` with every reason where a hold, a duty or anything else forbids it (standing intents are
    then taken back), ``UsageError`` without a token or for one of something else, and what stores and ledger raise.
    """
    with house.ledger.read() as connection:
        row = erasure.row_of(connection, erasure_id)
        lines = checks.survey(house, connection, row)
        found = Outcome(erasure_id, dry_run, checks.token_of(connection, row, lines), lines)
        if row.state == State.DONE:
            found.done = True
            return found
        if not dry_run:
            _require_token(token, found.token)
        try:
            checks.check_whole(house, connection, row)
        except (BlockedByPolicy, IntegrityError):
            if not dry_run:
                _later(house, erasure_id, role)
            raise
    if not dry_run:
        _carry_out(house, erasure_id, role, found, progress)
    return found


def _require_token(given: str | None, now: str) -> None:
    if given is None:
        raise UsageError("nothing is erased without the token of a dry run; run it without --yes first")
    if given != now:
        raise UsageError(
            "the token is of something else than what is there now; nothing was erased. Look at a new dry run"
        )


def _carry_out(house: Installation, erasure_id: str, role: str, found: Outcome, progress: Progress) -> None:
    units, last = _intend(house, erasure_id, role)
    reach("erase.intended")
    signed = sign_checkpoint(house, reason="erasure", role=role)
    log_is_anchored(signed.size, len(signed.anchored), last)
    reach("erase.anchored")
    guard = partial(_refuse_forbidden, units=units)
    try:
        for done, unit in enumerate(units, 1):
            _delete_original(house, unit, guard, found)
            progress(done, len(units))
        found.shards = erase_tokens.rewrite(house, erasure_id, role, units, guard)
    except BlockedByPolicy:
        _later(house, erasure_id, role)
        raise
    found.lists = erase_stores.redact_lists(house, erasure_id, role, units)
    erase_tokens.tidy(house, erasure_id)
    found.left = _distinct([*found.left, *erase_stores.remains(house, erasure_id, units)])
    if not found.left:
        _forget(house, erasure_id, role, units)
        reach("erase.forgotten")
        _prove(house, role)
        found.done = True


def _intend(house: Installation, erasure_id: str, role: str) -> tuple[list[Unit], int]:
    """All guards again, and the intents of those that have none; all photos, and the last intent."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        pairing.check(connection, house.archive)
        row = erasure.row_of(connection, erasure_id)
        checks.check_whole(house, connection, row)
        units = erasure.units_of(connection, erasure_id, ItemState.PLANNED, ItemState.INTENT)
        _refuse_forbidden(connection, units)
        new = erasure.units_of(connection, erasure_id, ItemState.PLANNED)
        erase_ledger.intend(connection, erasure_id, audit_log.actor(connection, role), new)
        erasure.move(connection, erasure_id, State.RUNNING)
        mine = erasure_items.c.erasure_id == erasure_id
        last = connection.execute(sa.select(sa.func.max(erasure_items.c.intent_seq)).where(mine)).scalar_one()
    return units, int(last)


def _refuse_forbidden(connection: sa.Connection, units: Sequence[Unit]) -> None:
    """Raises ``BlockedByPolicy`` with the reasons of each photo: of a request all is erased, or nothing."""
    why = checks.forbidden(connection, units)
    if why:
        called = {unit.object_version_id: unit.key for unit in units}
        said = "; ".join(
            f"{called[number]}: {', '.join(reasons)}" for number, reasons in list(why.items())[:5]
        )
        more = f"; and {len(why) - 5:,} more" if len(why) > 5 else ""
        raise BlockedByPolicy(f"{len(why):,} of {len(units):,} photos must not be erased now: {said}{more}")


def _delete_original(
    house: Installation, unit: Unit, guard: Callable[[sa.Connection], None], found: Outcome
) -> None:
    """The only transaction that waits for a store: a hold is placed before it, and met, or after."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        guard(connection)
        gone = sa.select(object_versions.c.destroyed_seq).where(
            object_versions.c.id == unit.object_version_id
        )
        if connection.execute(gone).scalar_one() is not None:
            return
        why = erase_stores.delete_original(house.originals(unit.collection), unit)
    if why is not None:
        found.left.append(Remains(unit.object_version_id, f"{unit.key}: {why}"))
    reach("erase.deleted")


def _later(house: Installation, erasure_id: str, role: str) -> None:
    """Something forbids it now: what was meant is not meant any more. What is gone already stays gone."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        meant = erasure.units_of(connection, erasure_id, ItemState.INTENT)
        erase_ledger.withdraw(connection, erasure_id, audit_log.actor(connection, role), meant, "forbidden")
    reach("erase.withdrawn")


def _forget(house: Installation, erasure_id: str, role: str, units: Sequence[Unit]) -> None:
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        _refuse_forbidden(connection, units)
        row, actor = erasure.row_of(connection, erasure_id), audit_log.actor(connection, role)
        gone = erase_ledger.forget(connection, erasure_id, actor, units)
        if left := erase_ledger.left(connection, units):
            raise IntegrityError(
                f"the ledger still says {', '.join(left)} of what was to be forgotten; nothing was forgotten, please "
                "report it"
            )
        after = {"objects": len(units), "gone": gone, "looked_again": True}
        seq = erasure.note(connection, actor, "erasure.done", row, after)
        erasure.move(connection, erasure_id, State.DONE, done_seq=seq, done_at=audit_log.now())


def _prove(house: Installation, role: str) -> None:
    """A list of states with a secret of its own, since those of before are erased, and a checkpoint over all of it."""
    states.take_state(house, role)
    sign_checkpoint(house, reason="erasure", role=role)


def _distinct(found: Sequence[Remains]) -> list[Remains]:
    """The first of each photo; what is of several stays."""
    seen: dict[object, Remains] = {}
    for one in found:
        seen.setdefault(one.what if one.number is None else one.number, one)
    return list(seen.values())

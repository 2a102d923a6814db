"""The retention run: expire old lists, give each policy its turn, reconcile, sign. Readable from top to bottom; each
step stands in ``tasks``.

A policy's turn either carries out lists that an earlier run made, or makes new ones, never both. Nothing is destroyed
and nothing written unless ``act`` is said. ``run_retention`` needs no Prefect; ``flows.prefect_retention`` is the same
run with Prefect's records around each step.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flows.nightly import Steps, plainly
from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import Fwd2BotError
from infra import audit_log, leases
from infra.installation import Installation, opened
from infra.settings import Settings
from tasks.checkpoint import sign
from tasks.destroy_checks import clock_is_sane
from tasks.destroy_order import times
from tasks.reconcile import Reconciled, reconcile_sample
from tasks.retention_report import write_reports
from tasks.retention_summary import RetentionSummary, newest_note
from tasks.retention_turn import old_lists, plans, take_turn
from tasks.review import expire

SLOT = "retention"  # of the lease: one run that acts at a time
Progress = Callable[[int, int], None]


def run_retention(
    settings: Settings,
    *,
    act: bool = False,
    author: str | None = None,
    role: str = "operator",
    progress: Progress = lambda *_: None,
    step: Steps = plainly,
) -> RetentionSummary:
    """One run over every policy; without ``act`` only what it would do. ``author``: who makes lists, a registered
    person (default ``retention.author``); ``role``: in which this process acts.

    Raises ``BlockedByPolicy`` while the clock is in doubt, before anything was done, and ``LeaseHeld``. What goes wrong
    later is told in the summary.
    """
    begun, author = time.monotonic(), author or settings.retention.author
    with opened(settings) as house, _alone(house, act) as run_id:
        step(check_clock, house)
        found = RetentionSummary(run_id=run_id, begun_at=audit_log.now(), acted=act)
        found.expired = step(expire, house.ledger) if act else step(old_lists, house)
        for plan in step(plans, house):
            turn = step(take_turn, house, plan, act=act, author=author, role=role, progress=progress)
            found.turns.append(turn)
        for collection in settings.collections:
            step(look, house, collection, found)
        found.seconds = round(time.monotonic() - begun, 3)
        if act:
            step(note, house, found, role)
            found.audit = step(sign, house, reason="retention", role=role)
        found.note = newest_note(house)
        if act:
            found.reports = step(write_reports, house, found)
    return found


def check_clock(house: Installation) -> None:
    """Before anything is written: whatever the log gets from a clock that jumped would make that clock look right."""
    with house.ledger.read() as connection:
        clock_is_sane(times(house, connection))


def look(house: Installation, collection: str, found: RetentionSummary) -> None:
    """Ask one collection's store for a sample of what the ledger knows."""
    try:
        found.reconciled.append(reconcile_sample(house, collection, house.settings.retention.sample))
    except Fwd2BotError as error:
        found.unreconciled[collection] = str(error)


def note(house: Installation, found: RetentionSummary, role: str) -> None:
    """What the run did, as one event."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        event = Event(
            type="retention.ended",
            occurred_at=audit_log.now(),
            actor=audit_log.actor(connection, role),
            run_id=found.run_id,
            after=found.counts(),
        )
        audit_log.append(connection, event)


def note_reconciled(house: Installation, found: Reconciled, role: str) -> None:
    """That all of a collection was held against its store, as an event."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        counts = {str(kind): count for kind, count in found.counts.items()}
        event = Event(
            type="originals.reconciled",
            occurred_at=audit_log.now(),
            actor=audit_log.actor(connection, role),
            collection=audit_log.reference(connection, "collection", found.collection),
            after={"listed": found.listed, "held_against": found.held_against, **counts},
        )
        audit_log.append(connection, event)


@contextmanager
def _alone(house: Installation, act: bool) -> Iterator[str]:
    """The run's name; while it acts, no other one does."""
    run_id = f"retention-{audit_log.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    if not act:
        yield run_id
        return
    seconds = house.settings.night.lease_seconds
    with house.ledger.write() as connection:
        lease = leases.take(connection, house.ledger, SLOT, run_id, seconds)
    try:
        with leases.heartbeat(house.ledger, lease, seconds):
            yield run_id
    finally:
        with house.ledger.write() as connection:
            leases.release(connection, lease)

"""A backfill: plan in slices, compress in turns, reckon up. Readable from top to bottom; each step stands in ``tasks``.

It works below the nights. Before each batch it asks whether it may go on; when a night has begun, its hours are over or
somebody paused it, it finishes what is under way, gives its workers back and, if it is to wait, takes them again later.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from flows.nightly import Steps, plainly
from fwd2bot_core.errors import ExitCode, LeaseLost, LedgerError
from infra.backfill_tables import BackfillState
from infra.executor import make_executor
from infra.installation import Installation, opened
from infra.leases import heartbeat
from infra.settings import Settings
from tasks import backfills, runs
from tasks.backfill_plan import Slice, write_slices
from tasks.backfill_reconcile import Reckoning, reconcile
from tasks.backfill_scope import Scope
from tasks.backfill_turn import Turn, summarise
from tasks.backfill_work import Standstill, out_of_budget, release, standstill, take_on, waiting
from tasks.backfills import Backfill, Budget
from tasks.checkpoint import sign
from tasks.compress import compress
from tasks.plan import BACKFILL
from tasks.publish import publish
from tasks.runs import Run

POLL = 5.0  # seconds between looks at whether a night is over


class Screen(Protocol):
    """Who watches: a terminal, a log, nobody."""

    def sliced(self, planned: Slice) -> None: ...
    def starting(self, what: str) -> None: ...
    def advanced(self, images: int) -> None: ...
    def waiting(self, why: str) -> None: ...
    def turned(self, turn: Turn) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How working on a backfill ended: reckoned up when nothing is left of it, else why it stands still."""

    backfill: Backfill
    turn: Turn | None  # the last one
    why: str
    reckoning: Reckoning | None = None

    @property
    def exit_code(self) -> ExitCode:
        if self.reckoning is not None:
            return self.reckoning.exit_code
        return self.turn.exit_code if self.turn is not None else ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        return {
            "backfill": self.backfill.id,
            "state": str(self.backfill.state),
            "why": self.why,
            "turn": self.turn.to_dict() if self.turn else None,
            "reckoning": self.reckoning.to_dict() if self.reckoning else None,
            "exit_code": int(self.exit_code),
        }


def begin_backfill(
    settings: Settings,
    collection: str | None,
    scope: Scope,
    budget: Budget,
    screen: Screen,
    *,
    role: str = "operator",
) -> Backfill:
    """Write a new backfill down and plan it. Raises ``LeaseHeld`` while another one of the collection is at work."""
    name, _ = settings.collection(collection)
    with opened(settings) as house, _run(house, name, role) as run:
        backfill = backfills.create(house.ledger, run, scope, budget)

        def not_told_otherwise() -> bool:
            return backfills.read(house.ledger, backfill.id).state == BackfillState.ACTIVE

        backfill = write_slices(house, run, backfill, progress=screen.sliced, going_on=not_told_otherwise)
        runs.end(house, run, summarise(house, run, f"{backfill.id} planned", 0.0, 0.0))
    return backfill


def work_on(
    settings: Settings,
    number: str | None,
    screen: Screen,
    *,
    wait: bool = True,
    role: str = "operator",
    step: Steps = plainly,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Work on a backfill until nothing is left of it or it has to stand still; with ``wait``, also past nights and
    closed hours. What was committed stays, whatever ends it. Raises ``LeaseHeld`` while somebody else works on it."""
    with opened(settings) as house:
        backfill, turn, reckoning = backfills.meant(house.ledger, number), None, None
        while reckoning is None:
            stands = standstill(house, backfill)
            if stands is None:
                turn, reckoning = _one_turn(house, backfill, screen, role, step)
                screen.turned(turn)
                backfill, stands = backfills.read(house.ledger, backfill.id), turn.stands
            if stands is None:
                continue
            if not (stands.passes and wait):
                if backfill.state == BackfillState.CANCELLED:
                    give_back(house, backfill, role=role)
                return Outcome(backfill, turn, stands.why)
            screen.waiting(stands.why)
            sleep(POLL)
        return Outcome(backfill, turn, reckoning.message, reckoning)


def _one_turn(
    house: Installation, backfill: Backfill, screen: Screen, role: str, step: Steps
) -> tuple[Turn, Reckoning | None]:
    """From a run's beginning to its end; reckoned up if nothing is left."""
    begun, stands, reckoning = time.monotonic(), _Standing(house, backfill), None
    with _run(house, backfill.collection, role) as run:
        backfills.join(house.ledger, run, backfill)
        if backfill.planned_at is None:
            backfill = write_slices(house, run, backfill, progress=screen.sliced, going_on=stands.not_yet)
        took = step(compress_turn, house, run, backfill, screen, stands)
        step(publish, house.ledger, house.archive, run)
        summary = summarise(house, run, backfill.id, took, time.monotonic() - begun, stands.found)
        if stands.found is None and not waiting(house.ledger, backfill):
            reckoning = step(reconcile, house, backfill)
            counts = {
                name: getattr(reckoning, name) for name in ("archive", "compressed", "rejected", "left")
            }
            backfills.end(house.ledger, run, backfill, reckoning.message, counts)
        runs.end(house, run, summary)
    return summary, reckoning


class _Standing:
    """Remembers why it stood still, so that a turn that was told so ends, whatever is true a moment later."""

    def __init__(self, house: Installation, backfill: Backfill) -> None:
        self._house, self._backfill = house, backfill
        self.found: Standstill | None = None

    def not_yet(self) -> bool:
        if self.found is None:
            self.found = standstill(self._house, self._backfill)
        return self.found is None


def compress_turn(
    house: Installation, run: Run, backfill: Backfill, screen: Screen, stands: _Standing
) -> float:
    """Take batches on and run them, as long as nothing says otherwise; seconds with the workers up."""
    if not stands.not_yet() or not take_on(house.ledger, run, backfill):
        _say_why(house, run, backfill, stands)
        return 0.0
    screen.starting("workers")
    config = house.worker_config(run.collection)
    with make_executor(house.settings.execution, config, tell=screen.starting) as executor:
        screen.starting("compression")
        begun, more = time.monotonic(), True
        while more:
            compress(
                house.ledger,
                house.archive,
                run,
                executor,
                progress=screen.advanced,
                taking=stands.not_yet,
            )
            more = stands.not_yet() and bool(take_on(house.ledger, run, backfill))
        took = time.monotonic() - begun
    _say_why(house, run, backfill, stands)
    return took


def _say_why(house: Installation, run: Run, backfill: Backfill, stands: _Standing) -> None:
    """What waits although nothing says that it should is beyond the budget, or could not be done."""
    if stands.found is None and waiting(house.ledger, backfill):
        broken = waiting(house.ledger, backfill, of=run)
        why = f"{broken:,} batches could not be done" if broken else out_of_budget(house.ledger, backfill)
        stands.found = Standstill(why, passes=False)
    backfills.note(house.ledger, run, backfill, stands.found.why if stands.found else None)


def give_back(house: Installation, backfill: Backfill, *, role: str = "operator") -> int:
    """What a cancelled backfill had claimed and not begun is anybody's again; how many images. Raises ``LeaseHeld``
    while somebody works on it, who will do the same within a batch."""
    with _run(house, backfill.collection, role) as run:
        images = release(house.ledger, run, backfill)
        runs.end(house, run, summarise(house, run, f"{backfill.id} cancelled", 0.0, 0.0))
    return images


@contextmanager
def _run(house: Installation, collection: str, role: str) -> Iterator[Run]:
    """A run that works beside the nights of its collection; its end is signed, whatever it is."""
    seconds = house.settings.night.lease_seconds
    run = runs.begin(house, collection, BACKFILL, role=role, slot=backfills.slot(collection))
    try:
        with heartbeat(house.ledger, run.lease, seconds):
            yield run
    except BaseException as error:
        with contextlib.suppress(LedgerError, LeaseLost):  # the first error is the one to report
            runs.fail(house, run, error)
        if not isinstance(error, KeyboardInterrupt):
            sign(house, reason="run_failed", role=role)
        raise
    sign(house, reason="run_ended", role=role)

"""The night: discover, plan, compress, publish, sweep, sign. Readable from top to bottom; each step stands in
``tasks``.

``run_night`` is the night itself and needs no Prefect; ``flows.prefect_night`` is the same night with
Prefect's records, retries and screens around each step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from fwd2bot_core.errors import LeaseLost, LedgerError
from infra.executor import make_executor
from infra.installation import Installation, opened
from infra.leases import heartbeat
from infra.settings import Settings
from tasks import runs
from tasks.checkpoint import sign
from tasks.compress import compress
from tasks.discover import Discovery
from tasks.find_new import find_new
from tasks.plan import Plan, write_plan
from tasks.publish import publish
from tasks.runs import Run
from tasks.search_index import keep_index, wanted
from tasks.summary import NightSummary, count
from tasks.sweep import Sweep, sweep
from tasks.window import closed, taking

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["night", "retry"]


class Screen(Protocol):
    """Who watches: a terminal, a log, nobody."""

    def discovered(self, found: Discovery) -> None: ...
    def planned(self, plan: Plan) -> None: ...
    def starting(self, what: str) -> None: ...
    def advanced(self, images: int) -> None: ...
    def finished(self, summary: NightSummary) -> None: ...


class Steps(Protocol):
    """How a step is called: as it is, or as a Prefect task with retries."""

    def __call__(self, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


def plainly(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """A step as a function call."""
    return step(*args, **kwargs)


def run_night(
    settings: Settings,
    collection: str | None,
    screen: Screen,
    *,
    kind: Kind = "night",
    role: str = "operator",
    step: Steps = plainly,
) -> NightSummary:
    """One night over one collection; ``kind="retry"`` compresses what failed before instead of what is new;
    ``role``: in which this process acts, for the audit trail.

    Raises ``LeaseHeld`` when another run works on it. What was committed before an error stays committed.
    """
    name, _ = settings.collection(collection)
    begun = time.monotonic()
    with opened(settings) as house:
        run = runs.begin(house, name, kind, role=role)
        try:
            with heartbeat(house.ledger, run.lease, settings.night.lease_seconds):
                found = Discovery()
                if kind == "night":
                    found = step(
                        find_new,
                        house,
                        name,
                        run.collection_id,
                        run=run,
                        progress=screen.discovered,
                    )
                plan = step(write_plan, house.ledger, run, settings)
                screen.planned(plan)
                took = step(compress_plan, house, run, screen) if plan.batches else 0.0
                step(publish, house.ledger, house.archive, run)
                if wanted(house, name):
                    step(keep_index, house, name)
                swept = step(
                    sweep,
                    house.ledger,
                    house.archive,
                    run,
                    older_than=timedelta(hours=settings.night.orphan_hours),
                )
                summary = _summarise(house, run, found, plan, swept, took, time.monotonic() - begun)
                runs.end(house, run, summary)
        except BaseException as error:
            with contextlib.suppress(LedgerError, LeaseLost):  # the first error is the one to report
                runs.fail(house, run, error)
            if not isinstance(error, KeyboardInterrupt):  # who interrupts wants an end at once
                sign(house, reason="run_failed", role=role)
            raise
        summary = replace(summary, audit=step(sign, house, reason="run_ended", role=role))
    screen.finished(summary)
    return summary


def compress_plan(house: Installation, run: Run, screen: Screen) -> float:
    """Run the planned batches on the executor that the settings name, within the night's hours; seconds with the
    workers up."""
    may_take = taking(house.settings.night.window, house.settings.night.zone)
    if not may_take():
        return 0.0
    screen.starting("workers")
    config = house.worker_config(run.collection)
    with make_executor(house.settings.execution, config, tell=screen.starting) as executor:
        screen.starting("compression")
        begun = time.monotonic()
        compress(house.ledger, house.archive, run, executor, progress=screen.advanced, taking=may_take)
        return time.monotonic() - begun


def _summarise(
    house: Installation, run: Run, found: Discovery, plan: Plan, swept: Sweep, took: float, wall: float
) -> NightSummary:
    _, source = house.settings.collection(run.collection)
    counted: dict[str, Any] = count(house.ledger, run.id, source.fidelity.threshold)
    night = house.settings.night
    return NightSummary(
        run_id=run.id,
        collection=run.collection,
        kind=run.kind,
        night=run.night.isoformat(),
        compressor=run.spec.short,
        listed=found.listed,
        new=found.new,
        superseded=found.superseded,
        resumed_batches=plan.resumed,
        orphans_swept=swept.swept,
        orphans_kept=swept.kept,
        closed=closed(night.window, night.zone) if counted["left"] else None,
        compress_seconds=round(took, 3),
        wall_seconds=round(wall, 3),
        **counted,
    )

"""The verbs about backfills: what one would do, begin it, work on it, watch, pause, resume, cancel, reckon up.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode, LeaseHeld, UsageError

if TYPE_CHECKING:
    from infra.installation import Installation
    from tasks.backfill_scope import Kind, Scope
    from tasks.backfills import Backfill, Budget

backfill_app = App(name="backfill", help="Compress old archives beside the nights, and below them.")
app.command(backfill_app)

Named = Annotated[str | None, Parameter(help="Which one; not needed when only one is under way.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """The photos that a backfill is about."""

    since: Annotated[date | None, Parameter("--from", help="First day, by keys or else by the store.")] = None
    until: Annotated[date | None, Parameter("--to", help="Last day.")] = None
    prefix: Annotated[str, Parameter(help="Only keys that start so.")] = ""
    list: Annotated[Path | None, Parameter(help="A file with a key in each line.")] = None
    manifest: Annotated[
        Path | None, Parameter(help="A table of keys with size, etag and date (CSV, JSON lines, Parquet).")
    ] = None
    inventory: Annotated[
        str | None, Parameter(help="An S3 Inventory: its manifest.json, or the folder of a configuration.")
    ] = None
    recompress: Annotated[
        bool, Parameter(help="What is known, by the compressor in use now.", negative="")
    ] = False

    def scope(self, house: Installation, collection: str) -> Scope:
        from tasks.backfill_plan import check_scope
        from tasks.backfill_scope import Scope

        sources = (self.list, self.manifest, self.inventory, self.recompress or None)
        if sum(each is not None for each in sources) > 1:
            raise UsageError(
                "--list names keys, --manifest and --inventory what there is, --recompress all that is known: give "
                "one of these"
            )
        check_scope(house, collection, self.prefix)
        capture = house.settings.collection(collection)[1].capture
        kind, file, sha256 = self._named(house, collection)
        return Scope(
            kind=kind,
            prefix=self.prefix,
            since=self.since,
            until=self.until,
            zone=house.settings.night.zone,
            file=file,
            file_sha256=sha256,
            key_pattern=capture.name,
            key_zone=capture.zone,
        )

    def _named(self, house: Installation, collection: str) -> tuple[Kind, str | None, str | None]:
        """What kind of thing lists them, where that lies, and its sha256."""
        from tasks.backfill_reports import of_report
        from tasks.backfill_scope import of_file

        if self.list is not None:
            return "list", *of_file(self.list)
        if self.manifest is not None:
            return "manifest", *of_file(self.manifest)
        if self.inventory is not None:
            return "inventory", *of_report(house, collection, self.inventory)
        return ("ledger" if self.recompress else "listing"), None, None


@Parameter(name="*")
@dataclass(frozen=True)
class Limits:
    """What a backfill may use up, and when."""

    images: Annotated[int | None, Parameter(help="Images at most.", validator=Number(gte=1))] = None
    bytes: Annotated[str | None, Parameter(help="Of originals at most, such as 2TB.")] = None
    hours: Annotated[float | None, Parameter(help="At work at most.", validator=Number(gt=0))] = None
    money: Annotated[float | None, Parameter(help="At most.", validator=Number(gt=0))] = None
    hour_price: Annotated[
        float | None,
        Parameter(
            help="Of an hour at work, all workers together [default: prices.gpu_hour times workers].",
            validator=Number(gt=0),
        ),
    ] = None
    window: Annotated[str | None, Parameter(help="Hours of the day, such as 22:00-06:00.")] = None
    zone: Annotated[str | None, Parameter(help="Their time zone [default: night.zone].")] = None

    def budget(self, house: Installation) -> Budget:
        from tasks.backfills import Budget

        return Budget(
            max_images=self.images,
            max_bytes=_bytes(self.bytes),
            max_seconds=None if self.hours is None else 3600 * self.hours,
            max_money=self.money,
            hour_price=self.hour_price if self.money is None else self.hour_price or _of_workers(house),
            hours=self.window,
            zone=self.zone or house.settings.night.zone,
        )


def _of_workers(house: Installation) -> float | None:
    """What an hour of all workers costs by the settings; None where these name no price."""
    price = house.settings.prices.gpu_hour
    return None if price is None else float(price) * house.settings.execution.workers


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    from dask.utils import parse_bytes

    try:
        found = parse_bytes(text)
    except ValueError:
        found = 0
    if found < 1:
        raise UsageError(f"--bytes {text!r} is no size; write one such as 500GB")
    return int(found)


EVERYTHING, UNLIMITED = Which(), Limits()


@backfill_app.command
def plan(collection: str | None = None, *, which: Which = EVERYTHING, common: Common = DEFAULTS) -> int:
    """What a backfill would do; writes nothing.

    Example: fwd2bot backfill plan line-1 --from 2020-01-01 --to 2020-12-31
    """
    from flows.backfill_screens import show_forecast
    from infra.installation import opened
    from tasks.backfill_plan import foresee

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house:
        seen = foresee(house, name, which.scope(house, name))
    if common.json:
        print(json.dumps(seen))
    else:
        show_forecast(terminal(), seen)
    return ExitCode.OK


@backfill_app.command
def start(
    collection: str | None = None,
    *,
    which: Which = EVERYTHING,
    limits: Limits = UNLIMITED,
    common: Common = DEFAULTS,
) -> int:
    """Begin a backfill: write down what it is about and claim it, in slices. `backfill run` works on it.

    Example: fwd2bot backfill start line-1 --to 2025-12-31 --window 22:00-06:00 --hours 40
    """
    from flows.backfill import begin_backfill
    from flows.backfill_screens import BackfillScreen
    from infra.installation import opened

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house:
        scope, budget = which.scope(house, name), limits.budget(house)
    screen = BackfillScreen(terminal(), silent=common.json)
    with screen:
        begun = begin_backfill(settings, name, scope, budget, screen)
    return _told(common, begun)


@backfill_app.command
def run(
    backfill: Named = None,
    *,
    wait: Annotated[
        bool, Parameter(help="Also past nights and closed hours; else end there.", negative="--no-wait")
    ] = True,
    common: Common = DEFAULTS,
) -> int:
    """Work on a backfill until nothing is left or its budget is used up. Below the nights: it yields within a batch.

    Exit code 5 if what is in the archive, and what became of it, do not add up.

    Example: fwd2bot backfill run
    """
    from flows.backfill import work_on
    from flows.backfill_screens import BackfillScreen

    console = terminal()
    with BackfillScreen(console, silent=common.json) as screen:
        outcome = work_on(common.settings(), backfill, screen, wait=wait)
    if common.json:
        print(json.dumps(outcome.to_dict()))
    else:
        console.print(
            f"{outcome.backfill.id} {outcome.backfill.state}: {outcome.why}", highlight=False, markup=False
        )
    return outcome.exit_code


@backfill_app.command
def status(backfill: Named = None, *, common: Common = DEFAULTS) -> int:
    """How far a backfill is, and how long it may still take; of all of them if none is named.

    Example: fwd2bot backfill status
    """
    from flows.backfill_screens import show_progress
    from infra.installation import opened
    from tasks import backfills
    from tasks.backfill_progress import progress

    with opened(common.settings()) as house:
        wanted = [backfills.read(house.ledger, backfill)] if backfill else backfills.every(house.ledger)
        found = [progress(house.ledger, each) for each in wanted]
    if common.json:
        print(json.dumps([each.to_dict() for each in found]))
    else:
        show_progress(terminal(), found)
    return ExitCode.OK


@backfill_app.command
def pause(backfill: Named = None, *, common: Common = DEFAULTS) -> int:
    """Let it stand still; whoever works on it stops within a batch. What it claimed stays its own.

    Example: fwd2bot backfill pause
    """
    return _tell(backfill, "paused", common)


@backfill_app.command
def resume(backfill: Named = None, *, limits: Limits = UNLIMITED, common: Common = DEFAULTS) -> int:
    """Let it go on where it was, with other limits where some are given; `backfill run` works on it.

    Example: fwd2bot backfill resume --images 100000
    """
    if limits == UNLIMITED:
        return _tell(backfill, "active", common)
    from infra.backfill_tables import BackfillState
    from infra.installation import opened
    from tasks import backfills

    with opened(common.settings()) as house:
        meant = backfills.meant(house.ledger, backfill)
        if meant.state == BackfillState.PAUSED:
            meant = backfills.tell(house, meant, BackfillState.ACTIVE)
        meant = backfills.allow(house, meant, limits.budget(house), zoned=limits.zone is not None)
    return _told(common, meant)


@backfill_app.command
def cancel(backfill: Named = None, *, common: Common = DEFAULTS) -> int:
    """End it. What it claimed and did not begin is given back, so that the next night takes it.

    Example: fwd2bot backfill cancel
    """
    return _tell(backfill, "cancelled", common)


def _tell(number: str | None, state: str, common: Common) -> int:
    from flows.backfill import give_back
    from infra.backfill_tables import BackfillState
    from infra.installation import opened
    from tasks import backfills

    with opened(common.settings()) as house:
        told = backfills.tell(house, backfills.meant(house.ledger, number), BackfillState(state))
        if told.state == BackfillState.CANCELLED:
            with contextlib.suppress(LeaseHeld):  # whoever works on it gives it back, within a batch
                give_back(house, told)
    return _told(common, told)


@backfill_app.command
def reconcile(backfill: Named = None, *, common: Common = DEFAULTS) -> int:
    """List anew what the newest backfill, or the one named, is about: so many in the archive, compressed, rejected and
    why, left. Exit code 5 if the sums differ, 3 if anything was rejected or is left.

    Example: fwd2bot backfill reconcile
    """
    from infra.installation import opened
    from tasks import backfills
    from tasks.backfill_reconcile import reconcile as reckon

    with opened(common.settings()) as house:
        newest = backfills.every(house.ledger)[:1] if backfill is None else []
        found = reckon(house, *(newest or [backfills.meant(house.ledger, backfill)]))
    print(json.dumps(found.to_dict()) if common.json else found.message)
    return found.exit_code


def _told(common: Common, backfill: Backfill) -> int:
    from flows.backfill_screens import show_progress
    from infra.installation import opened
    from tasks.backfill_progress import progress

    with opened(common.settings()) as house:
        found = progress(house.ledger, backfill)
    if common.json:
        print(json.dumps(found.to_dict()))
    else:
        show_progress(terminal(), [found])
    return ExitCode.OK

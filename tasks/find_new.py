"""How a night looks for what is new: at recent days and notifications where a collection has them, at times at all.

    sweep       the whole listing, or the newest S3 Inventory: as often as ``full_sweep`` says, whatever else is true
    recent      days that the keys begin with, and notifications: since the last look, less ``late_hours``

A photo that came late, is dated back or that nobody notified of is found by the next sweep at the latest. Whenever it
is not clear how far the last look came, everything is listed. Knows no image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from infra import audit_log
from infra.discovery_tables import Mark, discovery_marks
from infra.installation import Installation
from infra.objects import ObjectStore, open_store
from infra.sources import inventory
from infra.sources.event_records import EventRecords
from infra.sources.protocol import Source
from infra.sources.recent import RecentDays
from infra.sources.rows import Ours
from tasks.discover import Discovery, discover
from tasks.runs import Run, changing

MOST_DAYS = 400  # that are listed one by one; after a longer silence everything is


@dataclass(frozen=True, slots=True)
class Look:
    """One source to look into, and what may be believed of it."""

    how: str  # "listing", "inventory", "days" or "events"
    source: Source
    whole: bool  # it has everything
    truth: ObjectStore | None = None  # who to ask about its news


def find_new(
    house: Installation,
    collection: str,
    collection_id: int | None,
    *,
    run: Run | None = None,
    progress: Callable[[Discovery], None] = lambda _: None,
    clock: Callable[[], datetime] = audit_log.now,
) -> Discovery:
    """Look into what the settings name and write down what is new; without a ``run`` only count. Raises ``StoreError``,
    as ``discover``; nothing is then marked as looked at, so that the next night looks as far back."""
    begun, total = clock(), Discovery()
    looks, marks = _looks(house, collection, collection_id, begun)
    for look in looks:
        total += discover(
            house.ledger,
            look.source,
            collection_id,
            house.settings.collection(collection)[1].prefix,
            run=run,
            progress=partial(_so_far, progress, total),
            whole=look.whole,
            truth=look.truth,
            said=partial(_said, house, collection, look),
        )
    if run is not None:
        _mark(house, run, marks)
    return total


def _so_far(progress: Callable[[Discovery], None], before: Discovery, found: Discovery) -> None:
    progress(before + found)


def _said(house: Installation, collection: str, look: Look) -> dict[str, Any]:
    """What the event says beside the counts: how it was looked, where there is more than one way."""
    if not _has_recent(house, collection):
        return {}
    unreadable = {"unreadable": look.source.unreadable} if isinstance(look.source, EventRecords) else {}
    return {"source": look.how} | unreadable


def _has_recent(house: Installation, collection: str) -> bool:
    discovery = house.settings.collection(collection)[1].discovery
    return discovery.ordered or discovery.events is not None


def _looks(
    house: Installation, collection: str, collection_id: int | None, now: datetime
) -> tuple[list[Look], dict[Mark, datetime]]:
    """What to look into now, and what is true once all of it succeeded."""
    known = _marks(house, collection_id)
    looked = known.get(Mark.LOOKED)
    everything = [Look("listing", house.originals(collection), whole=True)]
    if not _has_recent(house, collection):
        return everything, {}
    marks = {Mark.LOOKED: now}
    if looked is None or looked > now or now - looked > timedelta(days=MOST_DAYS):
        return everything, marks | {Mark.SWEPT: now}
    recent = list(_recent(house, collection, looked, now))
    if not _sweep_is_due(house, collection, known.get(Mark.SWEPT), now):
        return recent, marks
    report = _newer_report(house, collection, known.get(Mark.INVENTORY))
    if report is None:
        return everything, marks | {Mark.SWEPT: now}
    look = Look("inventory", report, whole=True, truth=house.originals(collection))
    return [look, *recent], marks | {Mark.SWEPT: now, Mark.INVENTORY: report.made_at}


def _recent(house: Installation, collection: str, looked: datetime, now: datetime) -> Iterator[Look]:
    _, source = house.settings.collection(collection)
    since = looked - timedelta(hours=source.discovery.late_hours)
    store = house.originals(collection)
    if source.discovery.ordered:
        assert source.capture.name is not None
        zone = ZoneInfo(source.capture.zone or "UTC")
        around = timedelta(days=1)  # clocks of cameras, and an hour that a zone counts twice
        first, last = (since.astimezone(zone) - around).date(), (now.astimezone(zone) + around).date()
        yield Look("days", RecentDays(store, source.capture.name, first, last), whole=False)
    if source.discovery.events is not None:
        events = open_store(source.discovery.events, s3=source.s3)
        yield Look("events", EventRecords(events, since, Ours.of(store, source)), whole=False, truth=store)


def _sweep_is_due(house: Installation, collection: str, swept: datetime | None, now: datetime) -> bool:
    from cronsim import CronSim

    if swept is None or swept > now:
        return True
    _, source = house.settings.collection(collection)
    local = swept.astimezone(ZoneInfo(house.settings.night.zone))
    due: datetime = next(CronSim(source.discovery.full_sweep, local))
    return due <= now


def _newer_report(house: Installation, collection: str, last: datetime | None) -> inventory.Inventory | None:
    """The newest inventory, if it is another one than the last sweep read; else the sweep lists."""
    _, source = house.settings.collection(collection)
    if source.discovery.inventory is None:
        return None
    ours = Ours.of(house.originals(collection), source)
    found = inventory.newest(open_store(source.discovery.inventory, s3=source.s3), ours)
    return found if found is not None and (last is None or found.made_at > last) else None


def _marks(house: Installation, collection_id: int | None) -> dict[str, datetime]:
    mine = discovery_marks.c.collection_id == collection_id
    with house.ledger.read() as connection:
        rows = connection.execute(sa.select(discovery_marks.c.mark, discovery_marks.c.at).where(mine))
        return {row.mark: row.at for row in rows}


def _mark(house: Installation, run: Run, marks: Mapping[Mark, datetime]) -> None:
    if not marks:
        return
    mine = discovery_marks.c.collection_id == run.collection_id
    with changing(house.ledger, run) as connection:
        connection.execute(discovery_marks.delete().where(mine, discovery_marks.c.mark.in_(list(marks))))
        rows = [
            {"collection_id": run.collection_id, "mark": mark.value, "at": at} for mark, at in marks.items()
        ]
        connection.execute(discovery_marks.insert(), rows)

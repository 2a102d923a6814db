"""What to do, written down before anything is done: batches, and a claim on each object version in them.

A crash resumes the same plan, and no other run takes what is claimed. Knows nothing about how batches run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import RejectReason
from fwd2bot_core.retention.erasure import ItemState
from fwd2bot_core.work import Batch, Unit, batch_id_of
from infra import audit_log
from infra.crashpoints import reach
from infra.database import Ledger
from infra.erasure_tables import erasure_items
from infra.outage import once_back
from infra.settings import Settings
from infra.table_types import UtcDateTime
from infra.tables import FAILED, PLANNED, BatchState, WorkState, batches, object_versions, runs, work
from tasks.facts import unit_of
from tasks.runs import Run, changing

SHARES_A_WORKER = 3  # batches for each worker, so that none idles long at the end of the night
BACKFILL = "backfill"  # the kind of runs whose plan is not a night's


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do; sizes in bytes."""

    batches: int
    images: int
    bytes: int
    resumed: int  # batches, among them, that an earlier run left behind


TRIES = 3  # that nights give an image by themselves; after that, only `retry` does
TRANSIENT = (  # what may be better tomorrow without anybody doing anything
    RejectReason.VANISHED,
    RejectReason.CHANGED,
    RejectReason.FORBIDDEN,
    RejectReason.STORE_ERROR,
    RejectReason.INTERNAL,
)


def due(collection_id: int, compressor_id: int | None) -> sa.Select[Any]:
    """What a night takes on: current object versions that nobody has claimed for this compressor, and those that
    failed for a reason that may have passed. An anti-join; each row is an object version."""
    mine = sa.and_(work.c.object_version_id == object_versions.c.id, work.c.compressor_id == compressor_id)
    again = sa.and_(work.c.state == WorkState.FAILED, work.c.reason.in_(TRANSIENT), work.c.failures < TRIES)
    return (
        sa.select(object_versions)
        .outerjoin(work, mine)
        .where(
            object_versions.c.collection_id == collection_id,
            object_versions.c.superseded_at.is_(None),
            object_versions.c.destroyed_seq.is_(None),  # there is nothing left to compress
            sa.or_(work.c.object_version_id.is_(None), again),
            ~being_erased(),
        )
    )


def being_erased() -> sa.ColumnElement[bool]:
    """Object versions whose erasure has begun: nobody takes them on any more."""
    item = erasure_items.c
    return sa.exists().where(item.object_version_id == object_versions.c.id, item.state == ItemState.INTENT)


def failed(collection_id: int, compressor_id: int) -> sa.Select[Any]:
    """What a retry takes on: current object versions whose last try failed, for whatever reason."""
    return (
        sa.select(object_versions)
        .join(work, work.c.object_version_id == object_versions.c.id)
        .where(
            object_versions.c.collection_id == collection_id,
            object_versions.c.superseded_at.is_(None),
            object_versions.c.destroyed_seq.is_(None),
            work.c.compressor_id == compressor_id,
            FAILED,
            ~being_erased(),
        )
    )


def of_nights() -> sa.ColumnElement[bool]:
    """Batches that nights and retries planned; those of a backfill wait for it, however long it stands still."""
    return batches.c.run_id.not_in(sa.select(runs.c.id).where(runs.c.kind == BACKFILL))


def write_plan(ledger: Ledger, run: Run, settings: Settings) -> Plan:
    """Adopt what a dead run left, then claim what is due (a night) or what failed (a retry)."""
    resumed = _adopt(ledger, run)
    query = failed if run.kind == "retry" else due
    candidates = query(run.collection_id, run.compressor_id)
    rows = candidates.subquery()
    with ledger.read() as connection:
        count, first = connection.execute(sa.select(sa.func.count(), sa.func.min(rows.c.id))).one()
    size = batch_size(count, settings)
    last = (first or 0) - 1  # the one walk over the whole collection: what lies before is done
    while count and (units := _next_units(ledger, run, candidates, last, size)):
        last = units[-1].object_version_id
        _claim(ledger, run, candidates, units)
        reach("driver.batch-claimed")
    plan = _written(ledger, run, resumed)
    reach("driver.plan-written")
    return plan


def batch_size(images: int, settings: Settings) -> int:
    """Images a batch: as many as allowed, fewer on a small night so that every worker gets its share."""
    workers = 1 if settings.execution.executor == "inline" else settings.execution.workers
    share = -(-images // (workers * SHARES_A_WORKER))
    smallest = min(settings.night.smallest_batch, settings.night.batch_size)
    return max(smallest, min(share, settings.night.batch_size))


def planned_batches(ledger: Ledger, run: Run) -> Iterator[Batch]:
    """The run's batches that are not yet committed, oldest first, read one at a time."""
    after: sa.ColumnElement[bool] = sa.true()
    while (found := once_back(partial(_next_batch, ledger, run, after))) is not None:
        batch, at = found
        place = sa.tuple_(sa.literal(at, UtcDateTime()), sa.literal(batch.batch_id))
        after = sa.tuple_(batches.c.planned_at, batches.c.id) > place
        yield batch


def read_again(ledger: Ledger, run: Run, batch: Batch) -> Batch:
    """The batch as the ledger knows it now: its units have the numbers of their next facts."""
    with ledger.read() as connection:
        return replace(batch, units=_units(connection, run, batch.batch_id))


def split(ledger: Ledger, run: Run, batch: Batch) -> list[Batch]:
    """Replace a batch of two or more units, which killed its worker, by its halves, durably."""
    middle = len(batch.units) // 2
    halves = [batch.units[:middle], batch.units[middle:]]
    parts = [
        Batch(batch_id_of(units, batch.compressor), batch.compressor, batch.night, units) for units in halves
    ]
    with changing(ledger, run) as connection:
        for part in parts:
            _write_batch(connection, run, part, parent=batch.batch_id)
        connection.execute(
            batches.update()
            .where(batches.c.id == batch.batch_id)
            .values(state=BatchState.SPLIT, finished_at=audit_log.now())
        )
        halved = {"batch_id": batch.batch_id, "parts": [part.batch_id for part in parts]}
        audit_log.append(connection, run.event("batch.split", subject=halved, reason_code="killed_worker"))
    return parts


def _adopt(ledger: Ledger, run: Run) -> int:
    """Unfinished batches of dead nights become ours; those of another compressor are given back."""
    with changing(ledger, run) as connection:
        unfinished = sa.and_(batches.c.collection_id == run.collection_id, PLANNED, of_nights())
        stale = sa.select(batches.c.id).where(unfinished, batches.c.compressor_id != run.compressor_id)
        left = connection.execute(stale).scalars().all()  # mostly none, which a database would not expect
        for name in left:
            connection.execute(
                work.delete().where(work.c.batch_id == name, work.c.state == WorkState.CLAIMED)
            )
        if left:
            connection.execute(
                batches.update()
                .where(unfinished, batches.c.compressor_id != run.compressor_id)
                .values(state=BatchState.RELEASED, finished_at=audit_log.now())
            )
            gone = {"batches": len(left)}
            audit_log.append(
                connection, run.event("plan.released", subject=gone, reason_code="compressor_changed")
            )
        adopted = connection.execute(
            batches.update()
            .where(unfinished)
            .values(run_id=run.id, attempts=batches.c.attempts + 1, error=None)
        )
        return int(adopted.rowcount)


def _next_units(
    ledger: Ledger, run: Run, candidates: sa.Select[Any], last: int, size: int
) -> tuple[Unit, ...]:
    """The next candidates after id ``last``; found while others may write, claimed in a moment of its own."""
    with ledger.read() as connection:
        rows = connection.execute(
            candidates.where(object_versions.c.id > last).order_by(object_versions.c.id).limit(size)
        )
        return tuple(unit_of(row, run.collection) for row in rows)


def _claim(ledger: Ledger, run: Run, candidates: sa.Select[Any], units: tuple[Unit, ...]) -> None:
    """What a backfill claimed since the candidates were read is its own: asked again, where nobody claims meanwhile."""
    ids = [unit.object_version_id for unit in units]
    with changing(ledger, run) as connection:
        still = candidates.where(object_versions.c.id.in_(ids)).order_by(object_versions.c.id)
        if mine := tuple(unit_of(row, run.collection) for row in connection.execute(still)):
            claim(connection, run, mine)


def claim(connection: sa.Connection, run: Run, units: tuple[Unit, ...]) -> Batch:
    """One batch of units that nobody else has claimed, within a transaction that holds the log's head."""
    batch = Batch(batch_id_of(units, run.spec.fingerprint), run.spec.fingerprint, run.night, units)
    _write_batch(connection, run, batch)
    return batch


def _write_batch(connection: sa.Connection, run: Run, batch: Batch, *, parent: str | None = None) -> None:
    """Write a batch and move the claims of its units to it. Equal units make an equal batch, so one that failed
    whole and is tried again finds its own row."""
    values = {
        "collection_id": run.collection_id,
        "compressor_id": run.compressor_id,
        "run_id": run.id,
        "night": batch.night,
        "state": BatchState.PLANNED,
        "units": len(batch.units),
        "bytes": sum(unit.size for unit in batch.units),
        "parent_id": parent,
        "planned_at": audit_log.now(),
        "finished_at": None,
        "error": None,
    }
    again = connection.execute(
        batches.update()
        .where(batches.c.id == batch.batch_id)
        .values(attempts=batches.c.attempts + 1, **values)
    )
    if again.rowcount == 0:
        connection.execute(batches.insert().values(id=batch.batch_id, attempts=1, **values))
    ids = [unit.object_version_id for unit in batch.units]
    mine = sa.and_(work.c.compressor_id == run.compressor_id, work.c.object_version_id.in_(ids))
    moved = connection.execute(
        work.update().where(mine).values(batch_id=batch.batch_id, state=WorkState.CLAIMED)
    )
    if moved.rowcount == len(ids):
        return
    held = set(connection.execute(sa.select(work.c.object_version_id).where(mine)).scalars())
    connection.execute(
        work.insert(),
        [
            {
                "object_version_id": unit,
                "compressor_id": run.compressor_id,
                "batch_id": batch.batch_id,
                "state": WorkState.CLAIMED,
                "failures": 0,
            }
            for unit in ids
            if unit not in held
        ],
    )


def _next_batch(ledger: Ledger, run: Run, after: sa.ColumnElement[bool]) -> tuple[Batch, datetime] | None:
    """The oldest planned batch ``after`` that place, and when it was planned."""
    with ledger.read() as connection:
        row = connection.execute(
            sa.select(batches)
            .where(batches.c.run_id == run.id, batches.c.state == BatchState.PLANNED, after)
            .order_by(batches.c.planned_at, batches.c.id)
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        batch = Batch(row.id, run.spec.fingerprint, row.night, _units(connection, run, row.id))
        return batch, row.planned_at


def _units(connection: sa.Connection, run: Run, batch_id: str) -> tuple[Unit, ...]:
    rows = connection.execute(
        sa.select(object_versions)
        .join(work, work.c.object_version_id == object_versions.c.id)
        .where(work.c.batch_id == batch_id, work.c.state == WorkState.CLAIMED)
        .order_by(object_versions.c.id)
    )
    return tuple(unit_of(row, run.collection) for row in rows)


def _written(ledger: Ledger, run: Run, resumed: int) -> Plan:
    with ledger.write() as connection:
        totals: Sequence[int] = connection.execute(
            sa.select(
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(batches.c.units), 0),
                sa.func.coalesce(sa.func.sum(batches.c.bytes), 0),
            ).where(batches.c.run_id == run.id, batches.c.state == BatchState.PLANNED)
        ).one()
        plan = Plan(int(totals[0]), int(totals[1]), int(totals[2]), resumed)
        audit_log.append(
            connection,
            run.event(
                "plan.written",
                after={
                    "batches": plan.batches,
                    "images": plan.images,
                    "bytes": plan.bytes,
                    "resumed": resumed,
                },
            ),
        )
    return plan

"""What a backfill may do next: which planned batches it takes on, and why it should stand still.

It stands below the nights: while one of this installation works, whatever its collection, nothing is begun. Knows
nothing about how batches are compressed.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from infra import audit_log, leases
from infra.backfill_tables import BackfillState, backfill_runs, backfills
from infra.crashpoints import reach
from infra.database import Ledger
from infra.installation import Installation
from infra.tables import BatchState, WorkState, batches, runs, work
from tasks.backfills import Backfill
from tasks.runs import NIGHTS, Run, changing
from tasks.units import duration, size
from tasks.window import closed

TAKEN = 200  # batches that one turn takes on


@dataclass(frozen=True, slots=True)
class Used:
    """What a backfill has used up so far, this run's batches under way included. Bytes of originals, as listed."""

    images: int
    bytes: int
    seconds: float  # at work


def used(ledger: Ledger, backfill: Backfill) -> Used:
    """By the ledger, so that a crash loses nothing: a run worked from its beginning to its last finished batch."""
    mine = sa.select(backfill_runs.c.run_id).where(backfill_runs.c.backfill_id == backfill.id)
    done = sa.and_(batches.c.run_id.in_(mine), batches.c.state == BatchState.COMMITTED)
    with ledger.read() as connection:
        row = connection.execute(
            sa.select(sa.func.sum(batches.c.units), sa.func.sum(batches.c.bytes)).where(done)
        ).one()
        worked = connection.execute(
            sa.select(runs.c.started_at, sa.func.max(batches.c.finished_at).label("last"))
            .join(batches, batches.c.run_id == runs.c.id)
            .where(done)
            .group_by(runs.c.id, runs.c.started_at)
        ).all()
    seconds = sum((each.last - each.started_at).total_seconds() for each in worked)
    return Used(int(row[0] or 0), int(row[1] or 0), seconds)


def take_on(ledger: Ledger, run: Run, backfill: Backfill, *, most: int = TAKEN) -> int:
    """Batches planned by earlier runs of this backfill become this run's, oldest first, as far as images and bytes
    last; how many. They stay where they are when this run dies, too: the next one takes them on."""
    spent = used(ledger, backfill)
    budget = backfill.budget
    images = None if budget.max_images is None else budget.max_images - spent.images
    sizes = None if budget.max_bytes is None else budget.max_bytes - spent.bytes
    with changing(ledger, run) as connection:
        mine = sa.select(backfill_runs.c.run_id).where(backfill_runs.c.backfill_id == backfill.id)
        planned = sa.and_(batches.c.state == BatchState.PLANNED, batches.c.run_id.in_(mine))
        held = connection.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(batches.c.units), 0),
                sa.func.coalesce(sa.func.sum(batches.c.bytes), 0),
            ).where(planned, batches.c.run_id == run.id)
        ).one()
        waiting = connection.execute(
            sa.select(batches.c.id, batches.c.units, batches.c.bytes)
            .where(planned, batches.c.run_id != run.id)
            .order_by(batches.c.planned_at, batches.c.id)
            .limit(most)
        ).all()
        taken, total_images, total_bytes = [], int(held[0]), int(held[1])
        for row in waiting:
            total_images, total_bytes = total_images + row.units, total_bytes + row.bytes
            if (images is not None and total_images > images) or (sizes is not None and total_bytes > sizes):
                break
            taken.append(row.id)
        if taken:
            connection.execute(
                batches.update()
                .where(batches.c.id.in_(taken))
                .values(run_id=run.id, attempts=batches.c.attempts + 1, error=None)
            )
    reach("backfill.batches-taken")
    return len(taken)


def waiting(ledger: Ledger, backfill: Backfill, *, of: Run | None = None) -> int:
    """Batches that are planned and not compressed; ``of`` one run, or of any."""
    mine = sa.select(backfill_runs.c.run_id).where(backfill_runs.c.backfill_id == backfill.id)
    whose = batches.c.run_id == of.id if of is not None else batches.c.run_id.in_(mine)
    query = sa.select(sa.func.count()).where(whose, batches.c.state == BatchState.PLANNED)
    with ledger.read() as connection:
        return int(connection.execute(query.select_from(batches)).scalar_one())


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why nothing more may be begun now. ``passes``: by itself, when a night ends or a window opens."""

    why: str
    passes: bool


def standstill(house: Installation, backfill: Backfill) -> Standstill | None:
    """Asked before each batch. None: go on."""
    with house.ledger.read() as connection:
        mine = backfills.c.id == backfill.id
        state = connection.execute(sa.select(backfills.c.state).where(mine)).scalar_one()
        nights = [row for row in leases.holders(connection, house.ledger) if row.slot.startswith(NIGHTS)]
    if state != BackfillState.ACTIVE:
        return Standstill(state, passes=False)
    limit = backfill.budget.seconds
    if limit is not None and used(house.ledger, backfill).seconds >= limit:
        return Standstill(f"its budget of {duration(limit)} at work is used up", passes=False)
    if nights:
        names = ", ".join(row.slot.removeprefix(NIGHTS) for row in nights)
        return Standstill(f"a night works on {names}", passes=True)
    if (why := closed(backfill.budget.hours, backfill.budget.zone)) is not None:
        return Standstill(why, passes=True)
    return None


def out_of_budget(ledger: Ledger, backfill: Backfill) -> str:
    """Why batches wait that were not taken on."""
    spent, budget = used(ledger, backfill), backfill.budget
    limits = [f"{budget.max_images:,} images"] if budget.max_images is not None else []
    limits += [size(budget.max_bytes)] if budget.max_bytes is not None else []
    return (
        f"its budget of {' and '.join(limits)} does not allow for another batch: "
        f"{spent.images:,} images and {size(spent.bytes)} are used"
    )


def release(ledger: Ledger, run: Run, backfill: Backfill) -> int:
    """Give back what a cancelled backfill claimed and did not compress; how many images. An image that failed before it
    was claimed is failed again, others are nobody's: the next night takes them."""
    with changing(ledger, run) as connection:
        mine = sa.select(backfill_runs.c.run_id).where(backfill_runs.c.backfill_id == backfill.id)
        planned = sa.select(batches.c.id).where(
            batches.c.run_id.in_(mine), batches.c.state == BatchState.PLANNED
        )
        claimed = sa.and_(work.c.batch_id.in_(planned), work.c.state == WorkState.CLAIMED)
        failed = connection.execute(
            work.update().where(claimed, work.c.failures > 0).values(state=WorkState.FAILED)
        ).rowcount
        freed = connection.execute(work.delete().where(claimed)).rowcount
        connection.execute(
            batches.update()
            .where(batches.c.id.in_(planned))
            .values(state=BatchState.RELEASED, finished_at=audit_log.now())
        )
        images = int(failed + freed)
        event = run.event("backfill.released", subject={"backfill": backfill.id}, after={"images": images})
        audit_log.append(connection, event)
    return images

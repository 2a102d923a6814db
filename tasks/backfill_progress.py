"""How far a backfill is, and how long it may still take: from what the ledger says, with a spread from its own past.

A stretch of work is quicker or slower than another; the estimate says by how much, and says nothing before there was
enough work to tell. Knows nothing about budgets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from infra import leases
from infra.backfill_tables import BackfillState, backfill_items, backfill_runs, backfill_slices
from infra.database import Ledger
from infra.tables import BatchState, WorkState, batches, runs, summaries, work
from tasks.backfill_work import Used, used
from tasks.backfills import Backfill, slot

STRETCHES = 12  # that the past is cut into
FEWEST = 3  # stretches, before anything is said


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds at work that the rest takes: likely, and the span that nine of ten stretches of the past point to."""

    likely: float
    shortest: float
    longest: float
    stretches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Every image of a backfill is compressed, rejected or left. Sizes in bytes."""

    id: str
    collection: str
    scope: str
    state: str  # of ``BackfillState``, or "working" while a process is at it
    planned: bool  # whether every slice is written
    slices: int
    images: int
    bytes: int
    compressed: int
    rejected: int
    reasons: dict[str, int] = field(default_factory=dict)
    left: int
    by_others: int  # among the compressed and rejected ones: by a night or an earlier backfill
    used: Used
    forecast: Forecast | None
    note: str | None

    @property
    def share(self) -> float:
        """Of the images, from 0 to 1, that are done with."""
        return (self.images - self.left) / self.images if self.images else 1.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": round(self.share, 4)}


def progress(ledger: Ledger, backfill: Backfill) -> Progress:
    """As of now."""
    with ledger.read() as connection:
        states, reasons, by_others = _states(connection, backfill)
        sums = [sa.func.coalesce(sa.func.sum(backfill_slices.c[name]), 0) for name in ("images", "bytes")]
        slices, images, size = connection.execute(
            sa.select(sa.func.count(), *sums).where(backfill_slices.c.backfill_id == backfill.id)
        ).one()
        working = any(row.slot == slot(backfill.collection) for row in leases.holders(connection, ledger))
        done = _finished(connection, backfill)
    compressed, rejected = states[WorkState.COMPRESSED], states[WorkState.FAILED]
    left = int(images) - compressed - rejected
    at_work = working and backfill.state == BackfillState.ACTIVE
    return Progress(
        id=backfill.id,
        collection=backfill.collection,
        scope=str(backfill.scope),
        state="working" if at_work else str(backfill.state),
        planned=backfill.planned_at is not None,
        slices=int(slices),
        images=int(images),
        bytes=int(size),
        compressed=compressed,
        rejected=rejected,
        reasons=dict(reasons),
        left=left,
        by_others=by_others,
        used=used(ledger, backfill),
        forecast=forecast(done, left),
        note=backfill.note,
    )


def _states(connection: sa.Connection, backfill: Backfill) -> tuple[Counter[str], Counter[str], int]:
    """Images by state and by the reason of a failure, and how many others are done with than those of its own runs."""
    mine = sa.select(backfill_runs.c.run_id).where(backfill_runs.c.backfill_id == backfill.id)
    own = batches.c.run_id.in_(mine)
    rows = connection.execute(
        sa.select(work.c.state, work.c.reason, own.label("own"), sa.func.count())
        .select_from(backfill_items)
        .join(work, work.c.object_version_id == backfill_items.c.object_version_id)
        .join(batches, batches.c.id == work.c.batch_id)
        .where(backfill_items.c.backfill_id == backfill.id, work.c.compressor_id == backfill.compressor_id)
        .group_by(work.c.state, work.c.reason, own)
        .order_by(work.c.reason)
    )
    states, reasons, others = Counter[str](), Counter[str](), 0
    for state, reason, by_us, number in rows:
        states[state] += number
        if state == WorkState.FAILED:
            reasons[reason] += number
        if state != WorkState.CLAIMED and not by_us:
            others += number
    return states, reasons, others


def _finished(connection: sa.Connection, backfill: Backfill) -> list[tuple[datetime, datetime, int]]:
    """(beginning of its run, end, images) of each committed batch, in the order of their ends."""
    rows = connection.execute(
        sa.select(runs.c.started_at, batches.c.finished_at, batches.c.units)
        .join(batches, batches.c.run_id == runs.c.id)
        .join(backfill_runs, backfill_runs.c.run_id == runs.c.id)
        .where(backfill_runs.c.backfill_id == backfill.id, batches.c.state == BatchState.COMMITTED)
        .order_by(batches.c.finished_at)
    )
    return [(row.started_at, row.finished_at, row.units) for row in rows]


def forecast(done: Sequence[tuple[datetime, datetime, int]], left: int) -> Forecast | None:
    """From (beginning of its run, end, images) of each batch done so far, in the order of their ends.

    The time between two batches of a run is work; the time between two runs is none. None where less than three
    stretches of work can be told apart.
    """
    steps = _steps(done)
    if len(steps) < FEWEST:
        return None
    pieces = np.array_split(np.array(steps), min(STRETCHES, len(steps)))
    paces = np.array([piece[:, 0].sum() / piece[:, 1].sum() for piece in pieces])  # seconds an image
    whole = np.array(steps).sum(axis=0)
    low, high = np.percentile(paces, (5, 95))
    return Forecast(
        likely=float(left * whole[0] / whole[1]),
        shortest=float(left * low),
        longest=float(left * high),
        stretches=len(paces),
    )


def _steps(done: Sequence[tuple[datetime, datetime, int]]) -> list[tuple[float, int]]:
    """(seconds, images) of each batch: since the one before it, or since its run began."""
    steps, last = list[tuple[float, int]](), dict[datetime, datetime]()
    for started, ended, images in done:
        steps.append(((ended - last.get(started, started)).total_seconds(), images))
        last[started] = ended
    return steps


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that the ledger says in two ways."""

    what: str
    images: int


def discrepancies(ledger: Ledger, backfill: Backfill) -> list[Discrepancy]:
    """Where slices, images, claims and tokens do not say the same; empty in a sound ledger."""
    item, compressor = backfill_items.c, backfill.compressor_id
    base = (
        sa.select(sa.func.count())
        .select_from(backfill_items)
        .outerjoin(
            work,
            sa.and_(work.c.object_version_id == item.object_version_id, work.c.compressor_id == compressor),
        )
        .outerjoin(
            summaries,
            sa.and_(
                summaries.c.object_version_id == item.object_version_id,
                summaries.c.compressor_id == compressor,
            ),
        )
        .where(item.backfill_id == backfill.id)
    )
    has_tokens = summaries.c.shard_id.is_not(None)
    with ledger.read() as connection:
        counted = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(backfill_slices.c.images), 0)).where(
                backfill_slices.c.backfill_id == backfill.id
            )
        ).scalar_one()
        held = connection.execute(base).scalar_one()
        without = connection.execute(
            base.where(work.c.state == WorkState.COMPRESSED, sa.not_(has_tokens))
        ).scalar_one()
        beside = connection.execute(
            base.where(sa.func.coalesce(work.c.state, "") != WorkState.COMPRESSED, has_tokens)
        ).scalar_one()
    found = {
        "more or fewer images than its slices counted": abs(int(held) - int(counted)),
        "said to be compressed, without tokens": int(without),
        "with tokens, and not said to be compressed": int(beside),
    }
    return [Discrepancy(what, number) for what, number in found.items() if number]

"""How far the runs are that work now: images planned, committed, failed, and what that makes of the time to come.

Counted from the ledger, so that any process may ask. Knows nothing about how a run works or how this is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from infra import audit_log, leases
from infra.database import Ledger
from infra.tables import BatchState, RunState, batches, collections, failures, runs, shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One run that has not ended. Times in seconds."""

    run_id: str
    collection: str
    kind: str
    started_at: datetime
    alive: bool  # its process holds the lease; else it died, and the next run takes over
    images: int  # claimed by it; 0 while it still lists
    compressed: int
    failed: int
    seconds: float  # since it began

    @property
    def done(self) -> int:
        """Images that are compressed or failed."""
        return min(self.images, self.compressed + self.failed)

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None where there is none yet."""
        if not self.done or not self.alive:
            return None
        return self.seconds / self.done * (self.images - self.done)


def running(ledger: Ledger) -> list[Progress]:
    """Every run that is not over, oldest first."""
    with ledger.read() as connection:
        working = {row.run_id for row in leases.holders(connection, ledger)}
        rows = connection.execute(
            sa.select(runs, collections.c.name.label("collection"))
            .join(collections, collections.c.id == runs.c.collection_id)
            .where(runs.c.state == RunState.RUNNING)
            .order_by(runs.c.started_at, runs.c.id)
        ).all()
        return [_progress(connection, row, row.id in working) for row in rows]


def _progress(connection: sa.Connection, row: sa.Row[tuple[object, ...]], alive: bool) -> Progress:
    live = (BatchState.PLANNED, BatchState.COMMITTED)
    claimed = sa.select(sa.func.sum(batches.c.units)).where(
        batches.c.run_id == row.id, batches.c.state.in_(live)
    )
    stored = sa.select(sa.func.sum(shards.c.rows)).where(shards.c.run_id == row.id)
    failed = sa.select(sa.func.count()).select_from(failures).where(failures.c.run_id == row.id)
    images, compressed, lost = (
        int(connection.execute(one).scalar_one() or 0) for one in (claimed, stored, failed)
    )
    return Progress(
        run_id=row.id,
        collection=row.collection,
        kind=row.kind,
        started_at=row.started_at,
        alive=alive,
        images=images,
        compressed=compressed,
        failed=lost,
        seconds=max(0.0, (audit_log.now() - row.started_at).total_seconds()),
    )

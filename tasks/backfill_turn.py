"""What one turn of a backfill did: the summary of a run, as of a night, in the words of a backfill.

What a turn planned or took on and did not come to is no failure: it waits for the next turn. Knows nothing about turns.
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.installation import Installation
from infra.tables import RunState
from tasks.backfill_work import Standstill
from tasks.runs import Run
from tasks.summary import NightSummary, count


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(NightSummary):
    """``left`` are images that this turn planned or took on, and that a later one compresses."""

    what: str = ""  # what else is to be said of it
    stands: Standstill | None = None  # why it ended before the backfill did

    @property
    def state(self) -> RunState:
        """Failed only by what went wrong."""
        if not (self.failed or self.broken):
            return RunState.COMPLETED
        return RunState.PARTLY_FAILED if self.compressed or self.failed else RunState.FAILED

    @property
    def _done(self) -> str:
        parts = [f"{self.compressed:,} compressed"]
        if self.failed:
            parts.append(f"{self.failed:,} failed ({', '.join(f'{k} {v}' for k, v in self.reasons.items())})")
        if self.broken:
            parts.append(f"{len(self.broken):,} batches could not be done and wait: {self.broken[0]}")
        if self.what:
            parts.append(self.what)
        if self.stands is not None:
            parts.append(f"stands still: {self.stands.why}")
        return ", ".join(parts)


def summarise(
    house: Installation, run: Run, what: str, took: float, wall: float, stands: Standstill | None = None
) -> Turn:
    """As the ledger counts it; ``took`` seconds with the workers up, ``wall`` in all."""
    _, source = house.settings.collection(run.collection)
    return Turn(
        run_id=run.id,
        collection=run.collection,
        kind=run.kind,
        night=run.night.isoformat(),
        compressor=run.spec.short,
        compress_seconds=round(took, 3),
        wall_seconds=round(wall, 3),
        what=what,
        stands=stands,
        **count(house.ledger, run.id, source.fidelity.threshold),
    )

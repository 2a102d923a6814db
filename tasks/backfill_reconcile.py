"""The reckoning of a backfill: what the store shows now, held against what the ledger says became of each image.

In the archive = compressed + rejected + left, counted from the store's side; planned = compressed + rejected + left,
counted from the ledger's. Each image is looked at by itself, so what was lost on the way shows as a difference. Reads
only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fwd2bot_core.errors import ExitCode
from infra.installation import Installation
from infra.tables import WorkState
from tasks.backfill_plan import states_of_listing
from tasks.backfill_progress import Discrepancy, Progress, discrepancies, progress
from tasks.backfill_scope import Entries
from tasks.backfills import Backfill
from tasks.discover import stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """Images that the store shows now within the scope, by what the ledger says of that version of them."""

    archive: int
    compressed: int
    rejected: int
    reasons: dict[str, int]
    claimed: int  # by this backfill, a night or another one
    unclaimed: int  # the ledger knows them, and nobody has taken them on
    new: int  # the ledger does not know them: they came since it was planned
    missing: int  # keys of a list that the store does not have
    planned: Progress
    discrepancies: tuple[Discrepancy, ...]

    @property
    def left(self) -> int:
        return self.claimed + self.unclaimed + self.new

    @property
    def agrees(self) -> bool:
        """Whether both sums come out, and the ledger says everything in one way."""
        both = self.archive == self.compressed + self.rejected + self.left
        plan = self.planned
        return (
            both
            and plan.images == plan.compressed + plan.rejected + plan.left
            and plan.left >= 0
            and not self.discrepancies
        )

    @property
    def exit_code(self) -> ExitCode:
        if not self.agrees:
            return ExitCode.INTEGRITY
        return ExitCode.PARTLY_FAILED if self.rejected or self.left else ExitCode.OK

    @property
    def message(self) -> str:
        """One sentence for a log line."""
        said = (
            f"{self.archive:,} in the archive = {self.compressed:,} compressed + {self.rejected:,} rejected"
        )
        if self.reasons:
            said += f" ({', '.join(f'{why} {number:,}' for why, number in self.reasons.items())})"
        said += f" + {self.left:,} left"
        if self.missing:
            said += f"; {self.missing:,} keys of the list are not in the store"
        wrong = "; ".join(f"{each.images:,} images {each.what}" for each in self.discrepancies)
        if wrong or not self.agrees:
            said += f". THE LEDGER DOES NOT AGREE WITH ITSELF: {wrong or 'the sums differ'}"
        return said

    def to_dict(self) -> dict[str, Any]:
        plan = {"planned": self.planned.to_dict(), "left": self.left, "agrees": self.agrees}
        return asdict(self) | plan | {"message": self.message, "exit_code": int(self.exit_code)}


def reconcile(
    house: Installation, backfill: Backfill, *, progress_of: Callable[[int], None] = lambda _: None
) -> Reckoning:
    """List the scope anew, and hold it against the ledger. Raises ``StoreError``."""
    entries = Entries(house, backfill.collection, backfill.scope)
    states, reasons, listed = Counter[str](), Counter[str](), 0
    for chunk in entries.chunks():
        listed += len(chunk)
        with house.ledger.read() as connection:
            stage(connection, chunk)
            for row in connection.execute(states_of_listing(backfill.collection, backfill.fingerprint)):
                states[row.state] += 1
                if row.state == WorkState.FAILED:
                    reasons[row.reason] += 1
        progress_of(listed)
    return Reckoning(
        archive=listed,
        compressed=states[WorkState.COMPRESSED],
        rejected=states[WorkState.FAILED],
        reasons=dict(sorted(reasons.items())),
        claimed=states[WorkState.CLAIMED],
        unclaimed=states["known"],
        new=states["new"],
        missing=entries.missing,
        planned=progress(house.ledger, backfill),
        discrepancies=tuple(discrepancies(house.ledger, backfill)),
    )

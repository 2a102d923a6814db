"""Driving the batches: out to the executor, each outcome committed as it comes in.

A batch whose worker died is tried alone, then in halves, until the one image that kills workers stands
alone and is quarantined; its neighbours are compressed. A ledger that restarts meanwhile is waited for. Knows
nothing about how a batch is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from fwd2bot_core.errors import ClusterError, IntegrityError, StoreError
from fwd2bot_core.work import Batch
from infra.database import Ledger
from infra.executor import Broken, Died, Executor, Finished, Outcome
from infra.objects import ObjectStore
from infra.outage import once_back
from tasks.commit import commit, note_broken, quarantine
from tasks.plan import planned_batches, read_again, split
from tasks.runs import Run

DEATHS = 20  # more than the halvings that lead from a full batch to one image
BREAKS = 5


def compress(
    ledger: Ledger,
    archive: ObjectStore,
    run: Run,
    executor: Executor,
    *,
    progress: Callable[[int], None] = lambda _: None,
    taking: Callable[[], bool] = lambda: True,
) -> None:
    """Run every planned batch and commit it. ``progress`` is told how many images are done with; ``taking`` is asked
    before another batch begins: once it says no, those under way are finished and the rest stays planned.

    Everything about single batches and images becomes a row. Raises ``LeaseLost``; and when nothing works any more,
    ``ClusterError`` or what the batches raised, and leaves the rest planned for the next night.
    """
    suspects: list[Batch] = []
    broken: list[Broken] = []
    patience = _Patience()

    def settle(outcome: Outcome) -> None:
        patience.watch(outcome)
        match outcome:
            case Finished(batch, receipt):
                try:
                    once_back(lambda: commit(ledger, archive, run, batch, receipt))
                    progress(len(batch.units))
                except (StoreError, IntegrityError) as error:  # this batch is not committed; others can be
                    broken.append(Broken(batch, error))
            case Died(batch):
                suspects.append(batch)
            case Broken():
                broken.append(outcome)

    def isolate(batch: Batch) -> None:
        """Alone, so that a death names its batch; then its halves, down to the one image."""
        for outcome in executor.run([batch], solo=True):
            if not isinstance(outcome, Died):
                settle(outcome)
                continue
            patience.watch(outcome)
            if len(batch.units) == 1:
                quarantine(ledger, run, batch, outcome.detail)
                progress(1)
            else:
                for half in split(ledger, run, batch):
                    isolate(half)

    try:
        for outcome in executor.run(takewhile(lambda _: taking(), planned_batches(ledger, run))):
            settle(outcome)
        if taking():
            again, broken = broken, []
            # A stumbling store may be up again; and what was logged about an image meanwhile is known now.
            for outcome in executor.run(read_again(ledger, run, item.batch) for item in again):
                settle(outcome)
        for batch in takewhile(lambda _: taking(), suspects):
            isolate(batch)
    finally:
        for item in broken:
            note_broken(ledger, run, item.batch, item.error)


class _Patience:
    """Counts outcomes in a row that brought nothing. Past a limit the fault is not the images': going on would
    quarantine each of them alone, or wait for a dead store once a batch."""

    def __init__(self) -> None:
        self._died = self._broken = 0

    def watch(self, outcome: Outcome) -> None:
        match outcome:
            case Finished():
                self._died = self._broken = 0
            case Died(detail=detail):
                self._died += 1
                if self._died > DEATHS:
                    raise ClusterError(
                        f"{self._died} batches in a row killed their workers, so it is hardly the images. Look at "
                        f"memory, driver and accelerator; nothing uncommitted is lost, run again. Last: {detail}"
                    )
            case Broken(error=error):
                self._broken += 1
                if self._broken > BREAKS:
                    raise error

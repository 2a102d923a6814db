"""Driving the batches: out to the executor, each outcome committed as it comes in.

A batch whose worker died is tried alone, then in halves, until the one image that kills workers stands
alone and is quarantined; its neighbours are compressed. Knows nothing about how a batch is computed.
"""

from __future__ import annotations

from collections.abc import Callable

from fwd2bot_core.errors import IntegrityError, StoreError
from fwd2bot_core.work import Batch
from infra.database import Ledger
from infra.executor import Broken, Died, Executor, Finished, Outcome
from infra.objects import ObjectStore
from tasks.commit import commit, note_broken, quarantine
from tasks.plan import planned_batches, split
from tasks.runs import Run


def compress(
    ledger: Ledger,
    archive: ObjectStore,
    run: Run,
    executor: Executor,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Run every planned batch and commit it. ``progress`` is told how many images are done with.

    Raises ``LeaseLost`` and ``ClusterError``; everything about single batches and images becomes a row.
    """
    suspects: list[Batch] = []
    broken: list[Broken] = []

    def settle(outcome: Outcome) -> None:
        match outcome:
            case Finished(batch, receipt):
                try:
                    commit(ledger, archive, run, batch, receipt)
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
            elif len(batch.units) == 1:
                quarantine(ledger, run, batch, outcome.detail)
                progress(1)
            else:
                for half in split(ledger, run, batch):
                    isolate(half)

    for outcome in executor.run(planned_batches(ledger, run)):
        settle(outcome)
    again, broken = broken, []
    for outcome in executor.run(item.batch for item in again):  # a store that stumbled may be up again
        settle(outcome)
    for batch in suspects:
        isolate(batch)
    for item in broken:
        note_broken(ledger, run, item.batch, item.error)

"""A night taken apart, so that a test can stop between two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.work import Batch, Receipt, Unit
from infra.executor import Died, Finished, Outcome
from infra.installation import Installation
from infra.worker import compress_batch
from tasks import runs
from tasks.commit import commit
from tasks.discover import discover
from tasks.plan import Plan, planned_batches, write_plan
from tasks.runs import Run
from tests.houses import COLLECTION


def begin(house: Installation, kind: str = "night") -> Run:
    """A run that has listed what there is."""
    run = runs.begin(house, COLLECTION, kind)
    if kind == "night":
        discover(house.ledger, house.originals(COLLECTION), run.collection_id)
    return run


def planned(house: Installation, kind: str = "night") -> tuple[Run, Plan, list[Batch]]:
    """A run with its plan written down, and the batches in it."""
    run = begin(house, kind)
    plan = write_plan(house.ledger, run, house.settings)
    return run, plan, list(planned_batches(house.ledger, run))


def compressed(house: Installation, batch: Batch) -> Receipt:
    """The objects of a batch are written; nothing is committed."""
    return compress_batch(batch, house.worker_config(COLLECTION))


def committed(house: Installation, run: Run, batches: Iterable[Batch]) -> list[Receipt]:
    """Compress and commit."""
    receipts = []
    for batch in batches:
        receipts.append(compressed(house, batch))
        commit(house.ledger, house.archive, run, batch, receipts[-1])
    return receipts


def rows(house: Installation, query: sa.Select[Any] | sa.Table) -> list[Any]:
    """What the ledger says now."""
    with house.ledger.read() as connection:
        return list(connection.execute(query if isinstance(query, sa.Select) else sa.select(query)).all())


def count(house: Installation, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    return len(rows(house, sa.select(table).where(*where)))


def die_with_the_process(house: Installation) -> None:
    """As if the driver that holds the leases had been killed: their process is of another start time."""
    from infra.tables import leases

    with house.ledger.write() as connection:
        connection.execute(leases.update().values(process_started="0.00"))


class Scripted:
    """An executor that compresses here, and whose workers die or break as the script says."""

    def __init__(
        self,
        house: Installation,
        *,
        dies: Callable[[Unit], bool] = lambda unit: False,
        outcome: Callable[[Batch], Outcome | None] = lambda batch: None,
    ) -> None:
        self._house = house
        self._dies = dies
        self._outcome = outcome
        self.solo: list[int] = []  # sizes of the batches that ran alone
        self.ran: list[int] = []

    def run(self, batches: Iterable[Batch], *, solo: bool = False) -> Iterator[Outcome]:
        for batch in batches:
            (self.solo if solo else self.ran).append(len(batch.units))
            said = self._outcome(batch)
            if said is not None:
                yield said
            elif any(self._dies(unit) for unit in batch.units):
                yield Died(batch, "worker lost")
            else:
                yield Finished(batch, compressed(self._house, batch))

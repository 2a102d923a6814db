"""A night taken apart, so that a test can stop between two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import infra.installation
import infra.worker
from fwd2bot_core.audit import state_list
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.work import Batch, Receipt, Unit
from infra.executor import Died, Finished, Outcome
from infra.installation import Installation
from infra.tables import audit_events, leases, metadata
from infra.worker import compress_batch
from tasks import runs, state_proofs
from tasks.commit import commit
from tasks.discover import discover
from tasks.plan import Plan, planned_batches, write_plan
from tasks.runs import Run
from tests.houses import COLLECTION, night


def begin(house: Installation, kind: str = "night") -> Run:
    """A run that has listed what there is."""
    run = runs.begin(house, COLLECTION, kind)
    if kind == "night":
        discover(house.ledger, house.originals(COLLECTION), run.collection_id, run=run)
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


def night_of_ten(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> Installation:
    """A night of ten photos, the fourth one broken, and a retry: eleven facts."""
    photos(10)[3].write_bytes(b"broken")
    made = house(archive={"ledger": ledger_url})
    night(made)
    night(made, "retry")
    return made


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of states are cut after four lines."""
    for module in (state_list, state_proofs):
        monkeypatch.setattr(module, "PART", 4)


def rows(house: Installation, query: sa.Select[Any] | sa.Table) -> list[Any]:
    """What the ledger says now."""
    with house.ledger.read() as connection:
        return list(connection.execute(query if isinstance(query, sa.Select) else sa.select(query)).all())


def everything(house: Installation) -> dict[str, list[Any]]:
    """Every row of every table, but for the lease's heartbeat."""
    return {name: rows(house, table) for name, table in metadata.tables.items() if name != "leases"}


def statements(seen: list[str]) -> Callable[..., None]:
    """A listener for an engine's ``before_cursor_execute`` that remembers each statement."""
    return lambda connection, cursor, statement, *_: seen.append(statement)


def query_plan(connection: sa.Connection, statement: str, parameters: tuple[Any, ...]) -> list[str]:
    """How SQLite would go about a statement, a line a table."""
    return [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def count(house: Installation, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
    return len(rows(house, sa.select(table).where(*where)))


def use_compressor(monkeypatch: pytest.MonkeyPatch, compressor: FakeCompressor) -> None:
    """Nights of this test, in this process, compress with this one."""
    monkeypatch.setattr(infra.installation, "read_spec", lambda name, view: compressor.spec)
    monkeypatch.setattr(infra.worker, "load", lambda name, *, view, threads, limits, device: compressor)
    infra.worker._tools.cache_clear()


def die_with_the_process(house: Installation) -> None:
    """As if the driver that holds the leases had been killed: its process number is another process's now."""
    with house.ledger.write() as connection:
        connection.execute(leases.update().values(process=leases.c.process + "0"))


def lose_the_lease(house: Installation) -> None:
    """As if another run had taken the slot over from this one, which was silent for too long."""
    with house.ledger.write() as connection:
        connection.execute(leases.update().values(fencing=leases.c.fencing + 1))


def events(house: Installation, *types: str) -> list[dict[str, Any]]:
    """The bodies in the audit log, of these types or of all, oldest first; each is canonical and says its number."""
    query = sa.select(audit_events).order_by(audit_events.c.seq)
    bodies = [(row, parse(row.body)) for row in rows(house, query)]
    assert [body["seq"] for _, body in bodies] == list(range(len(bodies)))
    return [body for row, body in bodies if not types or row.type in types]


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

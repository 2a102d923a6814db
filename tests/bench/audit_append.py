"""What the audit log costs beside plain inserts: ``python -m tests.bench.audit_append``.

append    ``append_all``, B events a transaction: canonical bytes, leaf hash, Merkle tree, head, guard rails
plain     rows with the same bytes, made before, into a table of the same columns and indexes without triggers, in as
          many transactions

In turns, on SQLite (synced to disk at each commit) and on a PostgreSQL server of its own, which syncs nothing: there
the log cannot hide behind a disk.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Annotated, Any
from uuid import uuid4

import cyclopts
import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import leaf_hash
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.tables import audit_events
from tests.bench import evidence, tables, turns
from tests.bench.arguments import OUT, Names, Out, Rounds, Sizes
from tests.servers import postgresql

app = cyclopts.App(name="audit_append", help=__doc__)
DATABASES = ("sqlite", "postgresql")
GOAL_BATCH = 1000
MOST_EVENTS, MOST_TRANSACTIONS = 5000, 100  # of one timed call
BEGAN = datetime(2026, 11, 23, 17, tzinfo=UTC)
Make = Callable[[int], Any]
Write = Callable[[sa.Connection, list[Any]], object]
COLUMNS = {
    "database": "database",
    "batch": "batch",
    "bytes": "bytes_an_event",
    "append, events/s": "append_events_a_second",
    "plain, events/s": "plain_events_a_second",
    "append / plain": "ratio",
}


@app.default
def main(
    *,
    database: Names = DATABASES,
    batch: Sizes = (1, 100, 1000),
    rounds: Rounds = 7,
    goal: Annotated[float, cyclopts.Parameter(help="Times a plain insert's, at a batch of 1,000.")] = 1.5,
    note: Annotated[
        str, cyclopts.Parameter(help="Written beside the figures: what else the machine did.")
    ] = "",
    out: Out = OUT,
) -> int:
    """Print one table, write audit_append.json; exit code 1 if a batch of 1,000 takes longer than the goal."""
    before = evidence.begin()
    rows = []
    for name in database:
        if name == "postgresql" and (reason := postgresql.missing()):
            print(f"not measured: {reason}")
            continue
        with _databases(name) as make:
            rows += [measure(make(), size, rounds) for size in batch]
    tables.show("appending to the audit log", rows, COLUMNS)
    evidence.write(out / "audit_append.json", before, {"note": note, "goal": goal, "rows": rows})
    return int(any(row["ratio"] > goal for row in rows if row["batch"] == GOAL_BATCH))


@contextmanager
def _databases(name: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases, and names them."""
    if name == "postgresql":
        with postgresql.postgresql() as server:
            yield server.make_database
        return
    with tempfile.TemporaryDirectory(prefix="fwd2bot-append-") as folder:
        yield lambda: f"sqlite:///{folder}/{uuid4()}.sqlite"


def measure(url: str, batch: int, rounds: int) -> dict[str, Any]:
    """Both ways in turns in one new database; one row of the table.

    What a call writes is made just before the clock runs, as in a night. Neither table ever holds more rows than the
    other: inserting into a larger one takes longer.
    """
    ledger = open_ledger(url)
    calls = min(MOST_TRANSACTIONS, max(1, MOST_EVENTS // batch))
    insert = _plain_table(ledger).insert()
    ways: dict[str, tuple[Make, Write]] = {
        "append": (committed_batch, audit_log.append_all),
        "plain": (
            lambda number: _row(number, committed_batch(number)),
            lambda to, rows: to.execute(insert, rows),
        ),
    }
    taken: turns.Seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):  # the first does not count
        for name in list(ways) if turn % 2 == 0 else reversed(ways):
            taken[name].append(_seconds(ledger, *ways[name], turn * calls, calls, batch))
    ledger.close()
    taken = {name: seconds[1:] for name, seconds in taken.items()}
    return {
        "database": ledger.engine.dialect.name,
        "batch": batch,
        "bytes_an_event": len(_row(0, committed_batch(0))["body"]),
        **{f"{name}_events_a_second": round(calls * batch / median(taken[name])) for name in ways},
        "ratio": turns.times_faster(taken, "append", "plain"),
        "seconds": {name: [round(value, 4) for value in taken[name]] for name in ways},
    }


def _seconds(ledger: Ledger, make: Make, write: Write, first: int, calls: int, batch: int) -> float:
    """Of writing some batches, from batch number ``first`` on, each in a transaction of its own."""
    taken = 0.0
    for start in range(first * batch, (first + calls) * batch, batch):
        made = [make(number) for number in range(start, start + batch)]
        began = time.perf_counter()
        with ledger.write() as connection:
            write(connection, made)
        taken += time.perf_counter() - began
    return taken


def _plain_table(ledger: Ledger) -> sa.Table:
    """An empty table like the log's, without its triggers."""
    table = audit_events.to_metadata(sa.MetaData(), name="plain_events")
    table.primary_key.name = "pk_plain_events"
    with ledger.write() as connection:
        table.create(connection)
    return table


def committed_batch(number: int) -> Event:
    """As a night writes most of them: a committed batch with its shard and segment."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    stored = {"path": f"tokens/date=2026-11-23/{digest[:16]}.parquet", "sha256": digest, "rows": 1000}
    return Event(
        type="batch.committed",
        occurred_at=BEGAN + timedelta(microseconds=123_457 * number),
        actor=Actor(digest, "scheduler"),
        run_id=f"night-{number // 1000}",
        collection=digest,
        compressor=digest,
        after={
            "batch_id": digest[:32],
            "shard": stored,
            "segment": stored | {"subroot": digest},
            "rejected": 0,
        },
    )


def _row(seq: int, event: Event) -> dict[str, Any]:
    body = event.body(seq)
    return {
        "seq": seq,
        "event_id": str(event.event_id),
        "type": event.type,
        "occurred_at": event.occurred_at,
        "run_id": event.run_id,
        "body": body,
        "leaf": leaf_hash(body),
    }


if __name__ == "__main__":
    raise SystemExit(app())

"""How fast images become visible: ``python -m tests.bench.commit``.

A night's own ``commit`` of batches of 1,000: shard row, image rows, contents, claims, metrics, audit event and segment
in one transaction each, on SQLite (synced to disk at each commit) and on a PostgreSQL server of its own. Shards lie in
memory, at their real size, and are hashed as ever. Also times what comes before: writing images down, planning them.

Seconds are wall clock and processor time, the database server's included: on a busy machine only the second says much.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import psutil

from fwd2bot_core.audit.segment import segment_path, write_segment
from fwd2bot_core.tokens.fidelity import Fidelity
from fwd2bot_core.tokens.shard import shard_path
from fwd2bot_core.work import Batch, ImageFact, Receipt, SegmentFact, ShardFact, StageSeconds
from infra.installation import Installation
from infra.objects.memory import MemoryStore
from infra.settings import load_settings
from tasks import runs
from tasks.commit import commit
from tasks.discover import register
from tasks.plan import planned_batches, write_plan
from tasks.runs import Run, changing
from tests.bench import evidence, large_ledger, tables
from tests.bench.arguments import OUT, Names, Out
from tests.houses import COLLECTION, write_settings
from tests.servers import postgresql

app = cyclopts.App(name="commit", help=__doc__)
GOALS = {"sqlite": 10_000, "postgresql": 5_000}  # images a second
BATCH = 1_000
ROW = 6_656  # bytes in a shard, about what the shipped bundle makes
TAKEN = datetime(2026, 11, 23, 17, tzinfo=UTC)
COLUMNS = {
    "database": "database",
    "images": "images",
    "written down/s": "registered_a_second",
    "planned/s": "planned_a_second",
    "committed/s": "committed_a_second",
    "committed per processor s": "committed_a_processor_second",
    "of it in the server": "server_share",
    "goal": "goal",
    "bytes an image": "bytes_an_image",
}


class Clock:
    """Wall and processor seconds of what is done in ``with`` blocks, summed; of this process and what it started."""

    def __init__(self) -> None:
        self.wall = self.here = self.server = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begun, here, server = time.perf_counter(), time.process_time(), _of_children()
        yield
        self.wall += time.perf_counter() - begun
        self.here += time.process_time() - here
        self.server += _of_children() - server

    @property
    def processor(self) -> float:
        return self.here + self.server


def _of_children() -> float:
    """Processor seconds of the processes below this one, which are the database's."""
    found = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += times.user + times.system
    return found


@app.default
def main(
    *,
    database: Names = ("sqlite", "postgresql"),
    images: Annotated[int, cyclopts.Parameter(help="A multiple of 1,000.")] = 50_000,
    note: Annotated[str, cyclopts.Parameter(help="Written beside the figures.")] = "",
    out: Out = OUT,
) -> int:
    """Print one table; exit code 1 if a database commits fewer images in a second of processor time than its goal."""
    before, rows = evidence.begin(), []
    for name in database:
        if name == "postgresql" and (reason := postgresql.missing()):
            print(f"not measured: {reason}")
            continue
        with tempfile.TemporaryDirectory(prefix="fwd2bot-commit-") as folder:
            if name == "sqlite":
                rows.append(measure(Path(folder), f"sqlite:///{folder}/ledger.sqlite", images))
            else:
                with postgresql.postgresql() as server:
                    rows.append(measure(Path(folder), server.make_database(), images))
    tables.show("committing batches of 1,000", rows, COLUMNS)
    evidence.write(out / "commit.json", before, {"note": note, "rows": rows})
    return int(any(row["committed_a_processor_second"] < row["goal"] for row in rows))


def measure(folder: Path, url: str, images: int) -> dict[str, Any]:
    """One row of the table."""
    (folder / "photos").mkdir()
    night = {"batch_size": BATCH, "smallest_batch": BATCH}
    file = write_settings(folder / "fwd2bot.toml", archive={"ledger": url}, night=night)
    house, store = Installation(load_settings(file)), MemoryStore()
    run = runs.begin(house, COLLECTION)
    empty = large_ledger.size_of(house.ledger)
    registered, planned, committed = Clock(), Clock(), Clock()
    for first in range(0, images, 5_000):
        _timed(registered, lambda first=first: _write_down(house, run, first, min(first + 5_000, images)))  # type: ignore[misc]
    _timed(planned, lambda: write_plan(house.ledger, run, house.settings))
    body = os.urandom(ROW * BATCH)
    digest = hashlib.sha256(body).hexdigest()
    for batch in planned_batches(house.ledger, run):
        receipt = _receipt(store, run, batch, body, digest)
        _timed(committed, lambda: commit(house.ledger, store, run, batch, receipt))  # noqa: B023 - called at once
    large_ledger.settle(house.ledger)
    grown = large_ledger.size_of(house.ledger) - empty
    name = house.ledger.engine.dialect.name
    house.ledger.close()
    return {
        "database": name,
        "images": images,
        "registered_a_second": round(images / registered.processor),
        "planned_a_second": round(images / planned.processor),
        "committed_a_second": round(images / committed.wall),
        "committed_a_processor_second": round(images / committed.processor),
        "server_share": round(committed.server / committed.processor, 2),
        "goal": GOALS[name],
        "bytes_an_image": round(grown / images, 1),
    }


def _timed(clock: Clock, what: Callable[[], object]) -> None:
    with clock.running():
        what()


def _write_down(house: Installation, run: Run, first: int, last: int) -> None:
    rows = [
        {
            "key": f"2026/{n // 1000:05}/tray-{n:08}.jpg",
            "identity": f"etag:{n:032x}:150000",
            "size": 150_000 + n % 100_000,
            "modified": TAKEN,
        }
        for n in range(first, last)
    ]
    with changing(house.ledger, run) as connection:
        register(connection, run.collection_id, rows)


def _receipt(store: MemoryStore, run: Run, batch: Batch, body: bytes, digest: str) -> Receipt:
    """What a worker says of a batch without a reject; every tenth image was judged."""
    facts = tuple(
        ImageFact(
            object_version_id=unit.object_version_id,
            sha256=hashlib.sha256(unit.key.encode()).hexdigest(),
            size=unit.size,
            width=1600,
            height=1200,
            format="JPEG",
            row=row,
            reject=None,
            fidelity=Fidelity(0.97, 1) if row % 10 == 0 else None,
            chosen=row % 10 == 0,
        )
        for row, unit in enumerate(batch.units)
    )
    shard = ShardFact(
        shard_path(run.spec, batch.night, batch.batch_id, digest), digest, len(body), len(facts), "exact"
    )
    data, subroot = write_segment(batch, facts, shard.path, PROBES)
    sha256 = hashlib.sha256(data).hexdigest()
    segment = SegmentFact(
        segment_path(batch.night, batch.batch_id, sha256), sha256, len(data), len(facts), subroot
    )
    store.create(shard.path, body)
    store.create(segment.path, data)
    return Receipt(
        batch_id=batch.batch_id,
        shard=shard,
        segment=segment,
        images=facts,
        stages=StageSeconds(),
        bytes_in=sum(unit.size for unit in batch.units),
        bytes_out=len(body) + len(data),
        worker="bench",
        probes=PROBES,
    )


PROBES = ("what is in b2?", "what is the lot?")

if __name__ == "__main__":
    raise SystemExit(app())

"""What scheduling costs, with workers that sleep: ``python -m tests.bench.scheduler``.

The real planner plans; the real executor drives the real Dask scheduler, with as many batches in flight as there are
workers. These are Dask's own, all in this process, since 64 processes do not fit a small machine, and a batch sleeps
instead of compressing. Overhead is the time by which the whole is longer than with workers that are never idle. Memory
of this process, which holds driver, scheduler and workers, is read after a fifth and at the end: it must not grow.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import cyclopts

from fwd2bot_core.work import Batch, Receipt, SegmentFact, StageSeconds
from infra import executor
from infra.installation import Installation
from infra.settings import load_settings
from infra.worker import WorkerConfig
from tasks import runs
from tasks.discover import register
from tasks.plan import planned_batches, write_plan
from tasks.runs import Run, changing
from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out
from tests.bench.commit import TAKEN
from tests.bench.memory import resident
from tests.houses import COLLECTION, write_settings

app = cyclopts.App(name="scheduler", help=__doc__)
COLUMNS = {
    "workers": "workers",
    "batches": "batches",
    "sleep s": "sleep_seconds",
    "wall s": "wall_seconds",
    "overhead": "overhead",
    "processor ms a batch": "processor_ms_a_batch",
    "MB after a fifth": "mb_after_a_fifth",
    "MB at the end": "mb_at_the_end",
    "planned, batches/s": "planned_batches_a_second",
}


@app.default
def main(
    *,
    workers: Annotated[int, cyclopts.Parameter(help="Of Dask, in this process.")] = 64,
    batches: Annotated[int, cyclopts.Parameter(help="In all.")] = 10_000,
    units: Annotated[int, cyclopts.Parameter(help="Images in each.")] = 10,
    sleep: Annotated[float, cyclopts.Parameter(help="Seconds that a batch takes.")] = 10.0,
    goal: Annotated[float, cyclopts.Parameter(help="Overhead that may be, as a share.")] = 0.03,
    grown: Annotated[float, cyclopts.Parameter(help="Megabytes that memory may grow by.")] = 40.0,
    note: Annotated[str, cyclopts.Parameter(help="Written beside the figures.")] = "",
    out: Out = OUT,
) -> int:
    """Print one table; exit code 1 if the overhead or the memory misses its goal."""
    before = evidence.begin()
    row = measure(workers, batches, units, sleep)
    tables.show("scheduling batches that sleep", [row], COLUMNS)
    evidence.write(out / "scheduler.json", before, {"note": note, "goal": goal, **row})
    return int(row["overhead"] > goal or row["mb_at_the_end"] - row["mb_after_a_fifth"] > grown)


def measure(workers: int, batches: int, units: int, sleep: float) -> dict[str, Any]:
    """One row of the table."""
    with tempfile.TemporaryDirectory(prefix="fwd2bot-scheduler-") as folder:
        house = _house(Path(folder), units)
        run, planning = _planned(house, batches * units)
        config = house.worker_config(COLLECTION)
        with _cluster(workers) as client, mock.patch.object(executor, "compress_batch", Sleeping(sleep)):
            driver = executor.DaskExecutor(client, config, workers)
            done, at_a_fifth = 0, 0.0
            begun, busy = time.perf_counter(), time.process_time()
            for outcome in driver.run(planned_batches(house.ledger, run)):
                assert isinstance(outcome, executor.Finished), outcome
                done += 1
                if done == max(workers, batches // 5):
                    gc.collect()
                    at_a_fifth = resident("VmRSS")
            wall, busy = time.perf_counter() - begun, time.process_time() - busy
            gc.collect()
            at_the_end = resident("VmRSS")
        house.ledger.close()
    assert done == batches, done
    ideal = -(-batches // workers) * sleep
    return {
        "workers": workers,
        "batches": batches,
        "units": units,
        "sleep_seconds": sleep,
        "wall_seconds": round(wall, 2),
        "ideal_seconds": round(ideal, 2),
        "overhead": round(wall / ideal - 1, 4),
        "processor_ms_a_batch": round(1e3 * busy / batches, 2),
        "batches_a_processor_second": round(batches / busy, 1),
        "mb_after_a_fifth": round(at_a_fifth, 1),
        "mb_at_the_end": round(at_the_end, 1),
        "planned_batches_a_second": round(batches / planning, 1),
    }


class Sleeping:
    """Takes the place of ``compress_batch``; travels to a worker as that does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.__name__ = "compress_batch"

    def __call__(self, batch: Batch, config: WorkerConfig) -> Receipt:
        time.sleep(self._seconds)
        segment = SegmentFact("audit/segments/none.jsonl", "0" * 64, 0, 0, "0" * 64)
        return Receipt(batch.batch_id, None, segment, (), StageSeconds(), 0, 0, "sleeping")


@contextmanager
def _cluster(workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            resources={"GPU": 1},
            dashboard_address=None,
            memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _house(folder: Path, units: int) -> Installation:
    (folder / "photos").mkdir()
    night = {"batch_size": units, "smallest_batch": units}
    return Installation(load_settings(write_settings(folder / "fwd2bot.toml", night=night)))


def _planned(house: Installation, images: int) -> tuple[Run, float]:
    """A run with its plan; the processor seconds that planning took."""
    run = runs.begin(house, COLLECTION)
    rows = [
        {"key": f"{n:08}.jpg", "identity": f"etag:{n}", "size": 1000, "modified": TAKEN}
        for n in range(images)
    ]
    for first in range(0, images, 5_000):
        with changing(house.ledger, run) as connection:
            register(connection, run.collection_id, rows[first : first + 5_000])
    begun = time.process_time()
    write_plan(house.ledger, run, house.settings)
    return run, time.process_time() - begun


if __name__ == "__main__":
    raise SystemExit(app())

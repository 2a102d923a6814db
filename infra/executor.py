"""Where batches run: in this process, or on Dask workers. The flow cannot tell which.

An executor turns batches into outcomes, at most a window of them in flight, in any order, each once. It
may run a batch more than once (Dask does when a worker dies); names made from content and the ledger's
claims make that harmless. Knows nothing about SQL, Prefect or what a batch means.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from fwd2bot_core.errors import ClusterError, CompressorError, UsageError
from fwd2bot_core.work import Batch, Receipt
from infra.settings import ExecutionSettings
from infra.worker import WorkerConfig, compress_batch, load_compressor

START_SECONDS = 300.0  # that all workers may take to be there
CLOSE_SECONDS = 10.0  # that they may take to go

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finished:
    """The batch's objects are written; its receipt waits to be committed."""

    batch: Batch
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Died:
    """The worker process died while it held the batch: the batch is a suspect, not yet guilty."""

    batch: Batch
    detail: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The batch raised: a store or the model failed, no image in particular."""

    batch: Batch
    error: Exception


Outcome = Finished | Died | Broken


class Executor(Protocol):
    """Runs batches. ``solo`` keeps one in flight, so that a death names its batch."""

    def run(self, batches: Iterable[Batch], *, solo: bool = False) -> Iterator[Outcome]: ...


class InlineExecutor:
    """Runs each batch in this process: for tests, for debugging, for one small night."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config

    def run(self, batches: Iterable[Batch], *, solo: bool = False) -> Iterator[Outcome]:
        for batch in batches:
            yield _attempt(batch, lambda batch=batch: compress_batch(batch, self._config))  # type: ignore[misc]


class DaskExecutor:
    """Drives a plain ``distributed.Client``; see ``make_executor`` for the cluster's settings and why."""

    def __init__(self, client: Any, config: WorkerConfig, window: int) -> None:
        self._client = client
        self._config = config
        self._window = window

    def run(self, batches: Iterable[Batch], *, solo: bool = False) -> Iterator[Outcome]:
        from distributed import as_completed

        waiting = iter(batches)
        flying: dict[str, Batch] = {}
        finished = as_completed(raise_errors=False)

        def launch() -> None:
            batch = next(waiting, None)
            if batch is None:
                return
            key = f"batch-{batch.batch_id}-{uuid.uuid4().hex[:8]}"
            flying[key] = batch
            finished.add(
                self._client.submit(
                    compress_batch, batch, self._config, key=key, pure=False, resources={"GPU": 1}
                )
            )

        for _ in range(
            1 if solo else self._window
        ):  # one a worker: bounded memory, and a death blames one batch
            launch()
        for future in finished:
            batch = flying.pop(future.key)
            outcome = _attempt(batch, future.result)
            future.release()  # else Dask computes it again when the worker that held it dies
            launch()  # before the caller commits, so that no worker waits for SQL
            yield outcome


def _attempt(batch: Batch, result: Callable[[], Receipt]) -> Outcome:
    """A batch's result as an outcome; what is wrong with the whole cluster is raised."""
    try:
        return Finished(batch, result())
    except ClusterError:
        raise
    except Exception as error:
        name = type(error).__name__
        if name == "KilledWorker":
            return Died(batch, str(error))
        if name in ("NoWorkerError", "NoValidWorkerError"):
            raise ClusterError(
                "the cluster has no workers left; nothing uncommitted is lost, run again"
            ) from error
        return Broken(batch, error)


@contextmanager
def make_executor(settings: ExecutionSettings, config: WorkerConfig) -> Iterator[Executor]:
    """The executor that the settings name, with its workers up and the compressor loaded on each.

    Raises ``ClusterError`` when a worker cannot load it, ``CompressorError`` when nobody could, ``UsageError`` when it
    cannot serve the collection's view.
    """
    if settings.executor == "inline":
        load_compressor(config)
        yield InlineExecutor(config)
        return
    with _local_cluster(settings) as client:
        try:
            _patiently(lambda: _load_on_all(client, config, settings.workers))
        except (CompressorError, UsageError):
            raise
        except Exception as error:
            raise ClusterError(f"a worker could not load compressor {config.bundle!r}: {error}") from error
        yield DaskExecutor(client, config, settings.workers)


def _load_on_all(client: Any, config: WorkerConfig, workers: int) -> None:
    client.wait_for_workers(workers, timeout=START_SECONDS)
    client.run(load_compressor, config)


def _patiently(start: Callable[[], T]) -> T:
    """A worker that dies while it starts is bad luck once, and a reason to give up the third time: going on
    would blame the images for it."""
    again = retry_if_exception_type((OSError, RuntimeError))
    return Retrying(stop=stop_after_attempt(3), retry=again, reraise=True)(start)


# For glibc. Dask has it give back each freed megabyte at once, so that each tensor faults its pages in anew: the
# same forward pass then takes 1.6 times the processor time. A worker may keep 128 MiB instead.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": 32 * 1024**2, "MALLOC_TRIM_THRESHOLD_": 128 * 1024**2}

_DASK_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": "10m",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "15m",
    "distributed.deploy.lost-worker-timeout": "30m",
    "distributed.worker.memory.target": False,  # a paused worker would keep its batch, and nobody takes it over
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.daemon": True,  # workers end with the driver, also when it is killed
    "distributed.worker.preload": ["infra.worker"],
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",  # what they log, we say
    # Dask watches itself a hundred times a second: 3 % of two busy cores, for graphs that nobody looks at.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    **{f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in ALLOCATOR.items()},
}


@contextmanager
def _local_cluster(settings: ExecutionSettings) -> Iterator[Any]:
    """Worker processes on this machine. Dask's defaults are wrong for this work: with several strikes before it
    gives up, one poison batch takes innocent ones with it; a worker absent for 15 s is never replaced."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a killed worker is an outcome, told by us

    def start() -> Any:
        return LocalCluster(
            n_workers=settings.workers,
            threads_per_worker=1,
            processes=True,
            resources={"GPU": 1},
            memory_limit=settings.memory_limit,
            dashboard_address="127.0.0.1:0",  # unauthenticated, so never beyond this machine
            host="127.0.0.1",
        )

    with dask.config.set(_DASK_SETTINGS):
        try:
            cluster = _patiently(start)
        except RuntimeError as error:
            raise ClusterError(f"the worker processes do not start: {error.__cause__ or error}") from error
        with Client(cluster) as client:
            try:
                yield client
            finally:
                _close(cluster, client, settings.workers)


def _close(cluster: Any, client: Any, workers: int) -> None:
    """End the workers, soon. Dask's own closing waits for ever for a worker that it is just replacing: so that one
    may come up first, and what has not ended then dies with this process."""
    with suppress(TimeoutError):
        client.wait_for_workers(workers, timeout=CLOSE_SECONDS)
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        cluster.shutdown_on_close = False  # nor does it get a second chance when Python exits

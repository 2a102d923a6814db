"""Where batches run: in this process, or on Dask workers. The flow cannot tell which.

An executor turns batches into outcomes, at most a window of them in flight, in any order, each once. It
may run a batch more than once (Dask does when a worker dies); names made from content and the ledger's
claims make that harmless. Batches that were with a scheduler when it died are sent again once it is back.
Knows nothing about SQL, Prefect or what a batch means.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from fwd2bot_core.errors import ClusterError, CompressorError, SchedulerLost, UsageError
from fwd2bot_core.work import Batch, Receipt
from infra.cluster import Cluster, connected, patiently, when_back
from infra.settings import ExecutionSettings
from infra.worker import WorkerConfig, compress_batch, load_compressor

LOSSES = 3  # of a scheduler, with no batch done between them: then it hardly dies by chance


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

    @property
    def workers(self) -> str:
        """Who they are, for people."""


class InlineExecutor:
    """Runs each batch in this process: for tests, for debugging, for one small night."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config

    @property
    def workers(self) -> str:
        return "this process"

    def run(self, batches: Iterable[Batch], *, solo: bool = False) -> Iterator[Outcome]:
        for batch in batches:
            yield _attempt(batch, lambda batch=batch: compress_batch(batch, self._config))  # type: ignore[misc]


class DaskExecutor:
    """Drives a plain ``distributed.Client``; see ``infra.cluster`` for the cluster's settings and why.

    ``renewed`` gives the cluster again after its scheduler died; without it, that is an error."""

    def __init__(
        self,
        client: Any,
        config: WorkerConfig,
        window: int | Callable[[], int],
        place: str = "the local cluster",
        renewed: Callable[[], Cluster] | None = None,
    ) -> None:
        self._renewed = renewed
        self._client = client
        self._config = config
        self._window = window if callable(window) else (lambda: window)
        self._place = place

    @property
    def workers(self) -> str:
        return f"{self._window()} worker(s) of {self._place}"

    def run(self, batches: Iterable[Batch], *, solo: bool = False) -> Iterator[Outcome]:
        waiting, losses = iter(batches), 0
        while True:
            flying: dict[str, Batch] = {}
            try:
                for outcome in self._fly(waiting, flying, solo):
                    losses = 0
                    yield outcome
                return
            except SchedulerLost:
                losses += 1
                if self._renewed is None or losses > LOSSES:
                    raise
                cluster = self._renewed()
                self._client, self._window = cluster.client, cluster.count
                waiting = chain(flying.values(), waiting)

    def _fly(self, waiting: Iterator[Batch], flying: dict[str, Batch], solo: bool) -> Iterator[Outcome]:
        """Outcomes as they come; ``flying`` holds the batches, by future, of which nothing is known yet."""
        from distributed import as_completed

        finished = as_completed(raise_errors=False)

        def launch() -> None:
            """One a worker: bounded memory, and a death blames one batch. Workers may have come since."""
            wanted = 1 if solo else max(1, self._window())
            while len(flying) < wanted and (batch := next(waiting, None)) is not None:
                key = f"batch-{batch.batch_id}-{uuid.uuid4().hex[:8]}"
                flying[key] = batch
                finished.add(self._submit(batch, key))

        launch()
        for future in finished:
            outcome = _attempt(flying[future.key], future.result, self._place)
            del flying[future.key]
            future.release()  # else Dask computes it again when the worker that held it dies
            try:
                launch()  # before the caller commits, so that no worker waits for SQL
            except SchedulerLost:
                yield outcome
                raise
            yield outcome

    def _submit(self, batch: Batch, key: str) -> Any:
        if self._client.status in ("closing", "closed"):  # it looked for its scheduler, and gave up
            raise _lost(self._place)
        return self._client.submit(
            compress_batch, batch, self._config, key=key, pure=False, resources={"GPU": 1}
        )


def _attempt(batch: Batch, result: Callable[[], Receipt], place: str = "this process") -> Outcome:
    """A batch's result as an outcome; what is wrong with the whole cluster is raised."""
    try:
        return Finished(batch, result())
    except ClusterError:
        raise
    except Exception as error:
        name = type(error).__name__
        if name == "KilledWorker":
            return Died(batch, str(error))
        if name == "FutureCancelledError":  # nobody else cancels
            raise _lost(place) from error
        if name in ("NoWorkerError", "NoValidWorkerError"):
            raise ClusterError(
                "the cluster has no workers left; nothing uncommitted is lost, run again"
            ) from error
        return Broken(batch, error)


def _lost(place: str) -> SchedulerLost:
    return SchedulerLost(
        f"the Dask scheduler of {place} is gone; what was committed stays, run again when it is back"
    )


@contextmanager
def make_executor(
    settings: ExecutionSettings, config: WorkerConfig, *, tell: Callable[[str], None] = lambda _: None
) -> Iterator[Executor]:
    """The executor that the settings name, with its workers up and the compressor loaded on each. Who watches is told
    (``tell``) what is waited for when a scheduler elsewhere died.

    Raises ``ClusterError`` when a worker cannot load it, ``CompressorError`` when nobody could, ``UsageError`` when it
    cannot serve the collection's view.
    """
    if settings.executor == "inline":
        load_compressor(config)
        yield InlineExecutor(config)
        return
    with ExitStack() as open_ones:

        def up() -> Cluster:
            open_ones.close()  # what is left of the one that died
            cluster = open_ones.enter_context(connected(settings))
            _load(cluster, config)
            return cluster

        cluster = up()
        renewed = (lambda: when_back(up, settings, tell)) if "://" in settings.executor else None
        yield DaskExecutor(cluster.client, config, cluster.count, cluster.place, renewed)


def _load(cluster: Cluster, config: WorkerConfig) -> None:
    """The compressor, onto every worker that is there."""
    try:
        patiently(lambda: _load_on_all(cluster, config))
    except (ClusterError, CompressorError, UsageError):
        raise
    except Exception as error:
        raise ClusterError(f"a worker could not load compressor {config.bundle!r}: {error}") from error


def _load_on_all(cluster: Cluster, config: WorkerConfig) -> None:
    """Only the bundle's name and fingerprint travel; each worker reads it where it runs, and checks its hashes."""
    cluster.await_workers()
    cluster.client.run(load_compressor, config)

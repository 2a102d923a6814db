"""What becomes of a batch, as the driver sees it; real workers are in tests/flows/test_crashes.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from pydantic import ValidationError

import infra.executor
from fwd2bot_core.errors import BundleInvalid, ClusterError, SchedulerLost, StoreUnreachable
from fwd2bot_core.work import Batch, Receipt
from infra.cluster import Cluster
from infra.executor import (
    LOSSES,
    Broken,
    DaskExecutor,
    Died,
    Executor,
    Finished,
    InlineExecutor,
    Outcome,
    make_executor,
)
from infra.installation import Installation
from infra.settings import ExecutionSettings
from infra.worker import WorkerConfig
from tests.houses import COLLECTION
from tests.tasks.steps import planned

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture
def installation(house: BuildHouse, photos: Photos) -> Installation:
    photos(45)
    return house()


@pytest.fixture
def executor(installation: Installation) -> Executor:
    return InlineExecutor(installation.worker_config(COLLECTION))


class KilledWorker(Exception):
    """As distributed names it; the executor does not import distributed to know it."""


class NoValidWorkerError(Exception):
    """As distributed names it."""


def failing(error: Exception) -> Callable[[Batch, WorkerConfig], Receipt]:
    def compress(batch: Batch, config: WorkerConfig) -> Receipt:
        raise error

    return compress


class Losing(DaskExecutor):
    """Two batches in flight, of which one is done; then the scheduler dies, so many times in all."""

    def __init__(self, config: WorkerConfig, deaths: int, *, done: int) -> None:
        super().__init__(None, config, 2, renewed=self.back)
        self._deaths, self._done = deaths, done
        self.renewals = 0

    def back(self) -> Cluster:
        self.renewals += 1
        return Cluster(None, "tls://s:1", 1, 1.0, lambda: 2)

    def _fly(self, waiting: Iterator[Batch], flying: dict[str, Batch], solo: bool) -> Iterator[Outcome]:
        flying.update((batch.batch_id, batch) for batch in islice(waiting, 2))
        for batch in list(flying.values())[: self._done if self._deaths else None]:
            del flying[batch.batch_id]
            yield Died(batch, "as an example")
        if self._deaths:
            self._deaths -= 1
            raise SchedulerLost("it is gone")
        yield from (Died(batch, "as an example") for batch in waiting)


def test_what_was_with_a_scheduler_that_died_is_sent_again(installation: Installation) -> None:
    _, _, batches = planned(installation)
    losing = Losing(installation.worker_config(COLLECTION), 1, done=1)
    outcomes = [outcome.batch.batch_id for outcome in losing.run(batches)]
    assert sorted(outcomes) == sorted(batch.batch_id for batch in batches)
    assert losing.renewals == 1


def test_a_scheduler_that_dies_again_and_again_is_not_waited_for_for_ever(installation: Installation) -> None:
    _, _, batches = planned(installation)
    losing = Losing(installation.worker_config(COLLECTION), 10**6, done=0)
    with pytest.raises(SchedulerLost):
        list(losing.run(batches))
    assert losing.renewals == LOSSES


def test_each_batch_has_one_outcome(installation: Installation, executor: Executor) -> None:
    _, _, batches = planned(installation)
    outcomes = list(executor.run(batches))
    assert [outcome.batch for outcome in outcomes] == batches
    for outcome in outcomes:
        assert isinstance(outcome, Finished)
        assert outcome.receipt.batch_id == outcome.batch.batch_id


def test_batches_are_taken_one_at_a_time(installation: Installation, executor: Executor) -> None:
    _, _, batches = planned(installation)
    waiting = iter(batches)
    running = executor.run(waiting)
    next(running)
    assert list(waiting) == batches[1:]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnreachable("down"), Broken),
        (ValueError("a bug"), Broken),
        (KilledWorker("batch", "tcp://1"), Died),
    ],
)
def test_an_error_of_one_batch_is_an_outcome_and_the_others_run(
    installation: Installation,
    executor: Executor,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[Broken | Died],
) -> None:
    _, _, batches = planned(installation)
    monkeypatch.setattr(infra.executor, "compress_batch", failing(error))
    assert [type(outcome) for outcome in executor.run(batches)] == [kind] * len(batches)


@pytest.mark.parametrize("error", [ClusterError("another bundle"), NoValidWorkerError("none")])
def test_what_is_wrong_with_the_whole_cluster_is_raised(
    installation: Installation, executor: Executor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    _, _, batches = planned(installation)
    monkeypatch.setattr(infra.executor, "compress_batch", failing(error))
    with pytest.raises(ClusterError):
        list(executor.run(batches))


def test_a_compressor_that_cannot_be_loaded_is_said_before_any_batch_runs(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(config: WorkerConfig) -> str:
        raise BundleInvalid("weights differ")

    monkeypatch.setattr(infra.executor, "load_compressor", damaged)
    config = installation.worker_config(COLLECTION)
    with pytest.raises(BundleInvalid), make_executor(ExecutionSettings(executor="inline"), config):
        raise AssertionError("it ran")


@pytest.mark.parametrize(
    "place",
    [
        "inline",
        "local",
        "local-cuda",
        "tcp://127.0.0.1:8786",
        "tcp://[::1]:1",
        "tcp://localhost:1",
        "tls://s.example:8786",
    ],
)
def test_where_batches_may_run(place: str) -> None:
    assert ExecutionSettings(executor=place, certificates="certs").executor == place


@pytest.mark.parametrize(
    "place", ["tcp://10.0.0.5:8786", "tcp://scheduler.example:8786", "tcp://127.0.0.1.example:1"]
)
def test_nothing_goes_to_another_machine_unprotected(place: str) -> None:
    with pytest.raises(ValidationError, match=r"fwd2bot cluster certs DIR.*write tls://"):
        ExecutionSettings(executor=place)


@pytest.mark.parametrize(
    "place", ["cloud", "tls://host", "tls://:1", "tls://h:99999", "http://h:1", "tls://h:1/x"]
)
def test_what_is_no_place(place: str) -> None:
    with pytest.raises(ValidationError, match="is no place for batches"):
        ExecutionSettings(executor=place, certificates="certs")


@pytest.mark.parametrize("place", ["tls://s.example:8786", "slurm"])
def test_beyond_this_machine_certificates_are_needed(place: str) -> None:
    with pytest.raises(ValidationError, match="needs certificates"):
        ExecutionSettings(executor=place)

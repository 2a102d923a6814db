"""Kill -9 at every durable step of a night; the next one completes, and rewrites nothing that was committed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from distributed import WorkerPlugin

import flows.nightly
import infra.reading
from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.work import Unit
from infra.crashpoints import DRIVER_STEPS, VARIABLE, WORKER_STEPS, reach
from infra.executor import DaskExecutor, make_executor
from infra.installation import Installation
from infra.objects import S3Options
from infra.settings import ExecutionSettings
from infra.tables import RunState, batches, leases, runs, shards, work
from infra.worker import WorkerConfig
from tasks.verify import verify
from tests.houses import compressed_once, fwd2bot, night
from tests.tasks.steps import rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]

# Also the second time, where that is in the middle of the night, with something committed before it.
DRIVER = [*DRIVER_STEPS, "driver.batch-claimed#2", "driver.receipt-received#2", "driver.shard-committed#2"]


def committed_objects(house: Installation) -> dict[str, tuple[bytes, Any]]:
    """Path to bytes and status of each committed shard."""
    paths = [row.path for row in rows(house, shards)]
    return {path: (house.archive.read(path), house.archive.stat(path)) for path in paths}


def assert_whole(house: Installation, images: int) -> None:
    assert compressed_once(house) == images
    assert verify(house.ledger, house.archive).findings == ()
    assert {row.state for row in rows(house, work)} == {"compressed"}
    assert [row for row in rows(house, batches) if row.state == "planned"] == []
    assert [row.run_id for row in rows(house, leases)] == [None]


@pytest.mark.parametrize("step", DRIVER)
def test_a_driver_that_is_killed_is_resumed(
    house: BuildHouse, photos: Photos, tmp_path: Path, step: str
) -> None:
    photos(60)
    installation = house()
    killed = fwd2bot("night", "--direct", "--config", tmp_path / "fwd2bot.toml", env={VARIABLE: step})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = committed_objects(installation)
    assert len(before) == {"driver.shard-committed": 1, "driver.receipt-received#2": 1,
                           "driver.shard-committed#2": 2, "driver.manifest-written": 3,
                           "driver.run-ended": 3}.get(step, 0)  # fmt: skip

    summary = night(installation)
    assert summary.state == RunState.COMPLETED
    assert summary.compressed == 60 - 20 * len(before)
    after = committed_objects(installation)
    assert {path: after[path] for path in before} == before
    assert_whole(installation, 60)
    states = [
        row.state for row in rows(installation, sa.select(runs).order_by(runs.c.started_at, runs.c.fencing))
    ]
    assert states == ["completed" if step == "driver.run-ended" else "abandoned", "completed"]


def test_a_night_killed_again_and_again_still_ends(house: BuildHouse, photos: Photos, tmp_path: Path) -> None:
    photos(40)
    installation = house()
    for step in ("driver.discovered", "driver.plan-written", "driver.shard-committed"):
        arguments = ("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
        assert fwd2bot(*arguments, env={VARIABLE: step}).returncode == -signal.SIGKILL
    assert night(installation).state == RunState.COMPLETED
    assert_whole(installation, 40)


def test_without_the_variable_a_step_does_nothing_and_another_step_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(DRIVER_STEPS[0])
    monkeypatch.setenv(VARIABLE, DRIVER_STEPS[1])
    reach(DRIVER_STEPS[0])


EMPTY = WorkerConfig(
    bundle="fake",
    fingerprint=FakeCompressor().spec.fingerprint,
    originals="memory://none",
    originals_s3=S3Options(),
    archive="memory://none",
    archive_s3=S3Options(),
    micro_batch=32,
    torch_threads=1,
    fetch_threads=4,
    limits=DecodeLimits(),
)
TWO_WORKERS = ExecutionSettings(executor="local", workers=2)


def die() -> None:
    """Runs in a worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_cluster_ends_while_it_replaces_a_worker() -> None:
    """Dask's own closing hung here about every second time: a night with all its images committed never ended."""
    with make_executor(TWO_WORKERS, EMPTY) as executor:
        assert isinstance(executor, DaskExecutor)
        for _ in range(3):
            assert type(executor._client.submit(die, pure=False).exception()).__name__ == "KilledWorker"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two real worker processes for all tests of this module, with their scheduler's client."""
    with make_executor(TWO_WORKERS, EMPTY) as executor:
        assert isinstance(executor, DaskExecutor)
        yield executor._client


@pytest.fixture
def on_dask(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nights of this test run on the module's cluster."""
    monkeypatch.setattr(
        flows.nightly,
        "make_executor",
        lambda settings, config, tell: nullcontext(DaskExecutor(cluster, config, 2)),
    )
    return cluster


def set_variable(value: str | None) -> int:
    """Runs in a worker."""
    os.environ.pop(VARIABLE, None)
    if value is not None:
        os.environ[VARIABLE] = value
    return os.getpid()


@pytest.mark.parametrize("step", WORKER_STEPS)
def test_a_worker_that_is_killed_costs_nothing(
    house: BuildHouse, photos: Photos, on_dask: Any, tmp_path: Path, step: str
) -> None:
    photos(60)
    installation = house()
    on_dask.wait_for_workers(2)
    marker = tmp_path / "died"
    pids = set(on_dask.run(set_variable, f"{step}@{marker}").values())
    try:
        summary = night(installation)
    finally:
        on_dask.wait_for_workers(2)
        left = set(on_dask.run(set_variable, None).values())
    assert marker.exists()
    assert len(pids & left) == 1  # one of the two died and was replaced
    assert (summary.state, summary.exit_code, summary.compressed) == (RunState.COMPLETED, 0, 60)
    assert_whole(installation, 60)


class Poison(WorkerPlugin):
    """One image that kills whichever worker reads it, each time, also a worker that has just started."""

    name = "poison"
    key = "0005.jpg"

    def setup(self, worker: Any) -> None:
        self._plain = infra.reading.fetch

        def fetch(unit: Unit, *args: Any) -> Any:
            if unit.key == self.key:
                os.kill(os.getpid(), signal.SIGKILL)
            return self._plain(unit, *args)

        infra.reading.fetch = fetch

    def teardown(self, worker: Any) -> None:
        infra.reading.fetch = self._plain


def test_an_image_that_kills_every_worker_is_quarantined_alone(
    house: BuildHouse, photos: Photos, on_dask: Any
) -> None:
    photos(8)
    installation = house(night={"batch_size": 4, "smallest_batch": 4})
    on_dask.register_plugin(Poison())
    try:
        summary = night(installation)
    finally:
        on_dask.wait_for_workers(2)
        on_dask.unregister_worker_plugin("poison")
    assert (summary.compressed, summary.failed, summary.left) == (7, 1, 0)
    assert [(failure.key, failure.reason) for failure in summary.failures] == [(Poison.key, "killed_worker")]
    assert verify(installation.ledger, installation.archive).findings == ()
    assert night(installation, "retry").compressed == 1  # now that the poison is gone


def test_a_batch_that_raises_on_a_worker_is_left_with_its_reason(
    house: BuildHouse, photos: Photos, on_dask: Any, tmp_path: Path
) -> None:
    photos(20)
    installation = house()

    class Unmount(SilentScreen):
        def starting(self, what: str) -> None:
            if what == "compression":
                (tmp_path / "photos").rename(tmp_path / "unmounted")

    summary = run_night(installation.settings, None, Unmount())
    assert (summary.compressed, summary.failed, summary.left) == (0, 0, 20)
    assert summary.broken[0].startswith("StoreUnreachable: There is no folder")


def test_workers_die_with_a_driver_that_was_killed_and_the_next_night_starts_its_own(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    """The whole command, with its own cluster, once."""
    photos(60)
    installation = house(execution={"executor": "local", "workers": 2}, night={"batch_size": 20})
    arguments = ("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
    killed = fwd2bot(*arguments, env={VARIABLE: "driver.shard-committed"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = committed_objects(installation)
    marker = tmp_path / "died"
    second = fwd2bot(*arguments, env={VARIABLE: f"worker.segment-written@{marker}"})
    assert (second.returncode, second.stderr) == (0, "")
    assert marker.exists()
    assert {path: committed_objects(installation)[path] for path in before} == before
    assert_whole(installation, 60)

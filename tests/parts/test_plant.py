"""All parts at once, but for Prefect, which tests/flows has: up, a night in which a worker and the scheduler die, down.

The same with Prefect, at 5,000 photos, with every part killed: `python -m tests.prove.all_parts`.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.nightly import run_night
from flows.screens import SilentScreen
from infra.settings import load_settings
from tests.parts import photos
from tests.parts.plant import Plant
from tests.parts.process import members
from tests.parts.store import TOKENS
from tests.prove import checks
from tests.prove.places import Bucket, PostgresDatabase
from tests.prove.victims import looked_after
from tests.servers import postgresql

pytestmark = pytest.mark.slow
IMAGES = 60


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    if reason := postgresql.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="fwd2bot-parts-"))
    folder.chmod(0o711)  # PostgreSQL's own user goes through it
    made = Plant(folder, workers=2, with_prefect=False)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    try:
        yield made
    finally:
        made.down()
        shutil.rmtree(folder)


class Murderous(SilentScreen):
    """Kills a worker, and later the scheduler, when so many images are committed."""

    def __init__(self, plant: Plant) -> None:
        self._plant, self._done = plant, 0
        self.killed: list[str] = []
        self.told: list[str] = []

    def starting(self, what: str) -> None:
        self.told.append(what)

    def advanced(self, images: int) -> None:
        self._done += images
        worker = self._plant.dask_workers[0].inner()
        if self._done >= 10 and not self.killed and worker is not None:
            worker.kill()
            self.killed.append("worker")
        if self._done >= 30 and self.killed == ["worker"]:
            self._plant.scheduler.process.kill()
            self.killed.append("scheduler")


def test_a_night_on_all_parts_goes_on_when_a_worker_and_the_scheduler_die(plant: Plant) -> None:
    assert plant.up() == ["store", "database", "scheduler", "worker-1", "worker-2"]
    assert plant.up() == []
    keys = photos.fill(plant.store, IMAGES)
    file = plant.folder / "fwd2bot.toml"
    sizes = {"batch_size": 5, "smallest_batch": 5}
    plant.write_settings(file, "line", archive="a", ledger="ledger", night=sizes, bundle="fake")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600  # a password stands in it
    screen = Murderous(plant)
    with looked_after(plant) as caretaker:
        summary = run_night(load_settings(file), None, screen)
    assert screen.killed == ["worker", "scheduler"]
    assert caretaker.restarts.count("scheduler") == 1
    assert (summary.compressed, summary.failed, summary.left, summary.exit_code) == (IMAGES, 0, 0, 0)
    assert [what for what in screen.told if what.startswith("again when the Dask scheduler at tls://")]

    ledger = PostgresDatabase(plant.database.server.url("ledger").replace("+psycopg", ""))
    archive = Bucket(plant.store.server.client(), TOKENS, "a/")
    assert checks.check(ledger, archive, set(keys), failing={}).problems == []

    plant.up()  # a worker may have ended with its scheduler, just before nobody looked after it any more
    sessions = [part.process.found() for part in plant.parts()]
    assert plant.down() == ["worker-2", "worker-1", "scheduler", "database", "store"]
    assert [left for one in sessions if one is not None for left in members(one.pid)] == []
    assert plant.down() == []

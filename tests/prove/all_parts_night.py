"""One night on a plant, begun by Prefect, watched from outside, with kills in the middle of it.

Knows how a night is begun, followed and killed. Knows nothing about what must hold afterwards.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from tests.parts.plant import Plant
from tests.parts.store import TOKENS
from tests.prove import checks
from tests.prove.all_parts_evidence import Kill, Night
from tests.prove.places import Bucket, PostgresDatabase
from tests.prove.victims import VICTIMS, Caretaker, kill
from tests.servers import prefect

PATIENCE = 2400.0  # seconds that one night may take, with all its runs
LOOK_SECONDS = 0.1
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
WITHOUT_PREFECT = 600.0  # seconds that its server is away, at least
PREFECT_SECONDS = 180.0  # that it may take to answer again
FIRST, LAST, APART = 0.04, 0.9, 0.08  # shares of a night: the first kill, the last one, between two


@dataclass
class Installation:
    """Settings, ledger and archive of one night, on a plant."""

    plant: Plant
    name: str  # of the collection, and so of the deployment
    batch: int

    @property
    def config(self) -> Path:
        return self.plant.folder / self.name / "fwd2bot.toml"

    @cached_property
    def ledger(self) -> PostgresDatabase:
        return PostgresDatabase(self.plant.database.server.url(self._database).replace("+psycopg", ""))

    @cached_property
    def archive(self) -> Bucket:
        return Bucket(self.plant.store.server.client(), TOKENS, f"{self.name}/")

    @property
    def _database(self) -> str:
        return self.name.replace("-", "_")

    def set_up(self, cron: str, bundle: str) -> None:
        """Settings written, schedule registered."""
        batch = {"batch_size": self.batch, "smallest_batch": self.batch}
        self.plant.write_settings(
            self.config,
            self.name,
            archive=self.name,
            ledger=self._database,
            bundle=bundle,
            night={"cron": cron, **batch},
        )
        self.plant.deploy(self.config)

    def asked(self, path: str, body: Any = None) -> Any:
        """What Prefect's server answers."""
        return prefect.ask(f"{self.plant.prefect.api}/{path}", body, auth=self.plant.kept.prefect_auth)

    @cached_property
    def deployment(self) -> str:
        found = self.asked(
            "deployments/filter", {"deployments": {"name": {"any_": [f"nightly-{self.name}"]}}}
        )
        return str(found[0]["id"])

    def begin_run(self) -> str:
        """A run of the deployment, now; its id."""
        path = f"deployments/{self.deployment}/create_flow_run"
        return str(self.asked(path, {"state": {"type": "SCHEDULED"}})["id"])

    def runs(self) -> list[dict[str, Any]]:
        """All that have begun, the first first."""
        of_this = {"deployments": {"id": {"any_": [self.deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [run for run in self.asked("flow_runs/filter", of_this) if run["state_type"] != "SCHEDULED"]

    def committed(self) -> int:
        """Images; -1 while the database does not answer."""
        with contextlib.suppress(psycopg.Error):
            if not self.ledger.has("summaries"):
                return 0
            return int(self.ledger.ask("SELECT count(*) FROM summaries")[0][0])
        return -1

    def driver(self) -> int | None:
        """The pid of who holds the lease."""
        with contextlib.suppress(psycopg.Error):
            held = self.ledger.ask("SELECT pid FROM leases WHERE run_id IS NOT NULL")
            return int(held[0][0]) if held and Path(f"/proc/{held[0][0]}").exists() else None
        return None


def points(images: int, dice: random.Random) -> list[tuple[int, str]]:
    """Each victim once, in any order, each at a random share of the night after the one before has been survived."""
    order = dice.sample(VICTIMS, len(VICTIMS))
    loose = LAST - FIRST - APART * (len(order) - 1)
    shares = sorted(dice.uniform(0, loose) for _ in order)
    spread = (FIRST + share + APART * n for n, share in enumerate(shares))
    return [(round(images * share), who) for share, who in zip(spread, order, strict=True)]


def follow(
    house: Installation, night: Night, plan: list[tuple[int, str]], caretaker: Caretaker, dice: random.Random
) -> list[checks.Shard]:
    """Until all images are committed and no run is left; every shard that was committed before a kill.

    A run that ended before its time is followed by another, as an operator's or the next night would.
    """
    before: dict[str, checks.Shard] = {}
    todo, ends = list(plan), time.monotonic() + PATIENCE
    for done in _progress(house, night, ends):
        if not todo or done < todo[0][0]:
            continue
        for shard in checks.committed(house.ledger, house.archive):
            before.setdefault(shard.path, shard)
        if (dead := kill(todo[0][1], house.plant, caretaker, house.driver, dice)) is not None:
            night.kills.append(Kill(todo.pop(0)[1], dead.process, done, round(dead.away, 1)))
    if todo:
        night.problems.append(f"the night was over before these were killed: {[who for _, who in todo]}")
    return list(before.values())


def follow_without_prefect(house: Installation, night: Night, caretaker: Caretaker) -> None:
    """Prefect's server dies early in the night, and comes back when the night is over and ten minutes have passed.

    By then the night's process is gone and could not tell Prefect how it ended, so the run is closed there as dead; the
    ledger has the night's own record.
    """
    server, ends = house.plant.prefect.process, time.monotonic() + PATIENCE
    while (done := house.committed()) < FIRST * night.images:
        time.sleep(LOOK_SECONDS)
    caretaker.keep_away(server.name, PATIENCE)
    server.kill()
    begun = time.monotonic()
    while any(state == "running" for (state,) in house.ledger.ask("SELECT state FROM runs")):
        if time.monotonic() > ends:
            night.problems.append(f"the night is not over after {PATIENCE:.0f} s")
            break
        time.sleep(1)
    night.notes["over_after_seconds_without_prefect"] = round(time.monotonic() - begun, 1)
    time.sleep(max(0.0, begun + WITHOUT_PREFECT - time.monotonic()))
    night.kills.append(Kill("prefect", server.name, done, round(time.monotonic() - begun, 1)))
    caretaker.keep_away(server.name, 0)
    prefect.until(lambda: _answers(house), PREFECT_SECONDS)
    house.plant.deploy(house.config, "--close-stale")
    if not _ended(house):
        night.problems.append("a run is left open at Prefect, also after `fwd2bot deploy --close-stale`")
    if (ledger := house.ledger.ask("SELECT state FROM runs")) != [("completed",)]:
        night.problems.append(f"the ledger was to hold one completed run, not {ledger}")


def _answers(house: Installation) -> bool:
    with contextlib.suppress(OSError):
        return bool(house.runs())
    return False


def _ended(house: Installation) -> bool:
    """Whether Prefect says so of each run; not while it does not answer."""
    with contextlib.suppress(OSError):
        return all(run["state_type"] in ENDED for run in house.runs())
    return False


def _progress(house: Installation, night: Night, ends: float) -> Iterator[int]:
    """How many images are committed, again and again; begins another run when none is left and images are."""
    done, looked = 0, 0.0
    while time.monotonic() < ends:
        time.sleep(LOOK_SECONDS)
        if (now := house.committed()) >= 0:
            done = now
            yield done
        if time.monotonic() < looked:
            continue
        looked = time.monotonic() + 1
        with contextlib.suppress(OSError):  # its server is away
            if house.runs() and _ended(house):
                if done >= night.images:
                    return
                house.begin_run()
                looked += 5  # until its worker has taken it
    night.problems.append(f"{done} of {night.images} images were committed after {PATIENCE:.0f} s")


def in_a_minute() -> str:
    """A cron line of UTC whose time comes in one to two minutes."""
    at = time.gmtime(time.time() + 65)
    return f"{at.tm_min} {at.tm_hour} * * *"

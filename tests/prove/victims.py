"""Killing parts of a plant, and starting again what died, as a service manager would.

Knows processes. Knows nothing about what a night is.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.parts.plant import Part, Plant
from tests.parts.process import kill_session

VICTIMS = ("driver", "worker", "scheduler", "store", "database")
LOOK_SECONDS = 0.5
AWAY = (0.5, 6.0)  # seconds that a killed part stays away, at least and at most


@dataclass(frozen=True)
class Dead:
    """What was killed, and how long it stays away."""

    process: str
    away: float


class Caretaker:
    """Starts each part again that is not there, after the time that it is to stay away."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._back_at: dict[str, float] = {}
        self._stop = threading.Event()
        self.restarts: list[str] = []
        self.troubles: list[str] = []

    def keep_away(self, name: str, seconds: float) -> None:
        self._back_at[name] = time.monotonic() + seconds

    def run(self) -> None:
        """Until told to stop."""
        while not self._stop.wait(LOOK_SECONDS):
            for part in self._plant.parts():
                with contextlib.suppress(Exception):  # it is in the troubles, and the next look tries again
                    self._look_after(part)

    def _look_after(self, part: Part) -> None:
        name = part.process.name
        if part.process.lives() or time.monotonic() < self._back_at.get(name, 0):
            return
        self.restarts.append(name)
        try:
            part.start()
        except Exception as error:
            self.troubles.append(f"{name}: {' '.join(str(error).split())[:300]}")
            raise

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def looked_after(plant: Plant) -> Iterator[Caretaker]:
    """Somebody starts again what dies, for as long as the block runs."""
    caretaker = Caretaker(plant)
    thread = threading.Thread(target=caretaker.run, name="caretaker", daemon=True)
    thread.start()
    try:
        yield caretaker
    finally:
        caretaker.stop()
        thread.join()


def kill(
    victim: str, plant: Plant, caretaker: Caretaker, driver: Callable[[], int | None], dice: random.Random
) -> Dead | None:
    """SIGKILL to it; None if it is not there just now. ``driver`` tells the pid of who runs the night."""
    away = dice.uniform(*AWAY)
    if victim == "driver":
        pid = driver()
        if pid is None:
            return None
        os.kill(pid, signal.SIGKILL)
        return Dead("the night itself", 0.0)  # the next run begins when it is found dead
    if victim == "worker":
        return _kill_worker(plant, caretaker, away, dice)
    part: Part = {"scheduler": plant.scheduler, "store": plant.store, "database": plant.database}[victim]
    caretaker.keep_away(part.process.name, away)
    if not part.process.lives():
        return None
    part.process.kill()
    return Dead(part.process.name, away)


def _kill_worker(plant: Plant, caretaker: Caretaker, away: float, dice: random.Random) -> Dead | None:
    """The process that computes, which its nanny replaces at once; or both, as if the machine were gone."""
    worker = dice.choice(plant.dask_workers)
    inner, nanny = worker.inner(), worker.process.found()
    if inner is None or nanny is None:
        return None
    name = worker.process.name
    if dice.random() < 0.5:
        inner.kill()
        return Dead(f"{name}, not its nanny", 0.0)
    caretaker.keep_away(name, away)
    kill_session(nanny.pid)
    return Dead(f"{name} and its nanny", away)

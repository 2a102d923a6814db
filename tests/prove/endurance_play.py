"""Who acts in the endurance test: photographers, nights, a backfiller, a killer, the weather, and who watches memory.

Each in a thread of its own, against real parts; what each did is in a diary. Knows nothing of what must hold
afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.houses import command, tiny_jpeg
from tests.parts.photos import FOLDER
from tests.parts.plant import Plant
from tests.parts.store import ORIGINALS
from tests.prove.victims import Caretaker, kill
from tests.servers.flaky import Weather

SKIES: list[tuple[str, dict[str, Any]]] = [
    ("fair", {}),
    ("busy", {"busy": 0.05}),
    ("slow", {"slow": 0.3}),
    ("stormy", {"busy": 0.05, "cut": 0.02, "slow": 0.2}),
    ("full", {"full": True}),
]
WORST_SECONDS = 8.0  # that a disk stays full
VICTIMS = ("worker", "worker", "night", "backfill", "scheduler", "store", "database")
PART_WARM, DRIVER_WARM = 45.0, 15.0  # seconds after which a process has loaded what it loads
PATIENCE = 900.0  # seconds for one command


@dataclass
class Diary:
    """What happened, with the second when; ``memory`` is MB by role."""

    begun: float = field(default_factory=time.monotonic)
    entries: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)
    warm: dict[str, list[float]] = field(default_factory=dict)  # in the order of time
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def now(self) -> float:
        return round(time.monotonic() - self.begun, 1)

    def note(self, who: str, what: str, **more: Any) -> None:
        with self.lock:
            self.entries.append({"at": self.now, "who": who, "what": what, **more})

    def of(self, who: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["who"] == who]


@dataclass
class Play:
    """One installation on a plant, and everybody who acts on it."""

    plant: Plant
    config: Path
    diary: Diary
    variables: Mapping[str, str]
    seed: int
    wave: int  # old photos that a backfill is begun for at a time
    arrivals: int  # new photos before each night
    pause: float  # seconds between two nights, and between two deaths, on average
    stop: threading.Event = field(default_factory=threading.Event)
    keys: set[str] = field(default_factory=set)
    waves: int = 0
    broken: list[str] = field(default_factory=list)  # actors that could not go on
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)  # by role

    def put(self, folder: str, count: int) -> None:
        """New photos, all different, directly into the store: cameras have no part in the weather."""
        client = self.plant.store.server.client()
        first = len(self.keys)
        made = {f"{folder}/{number:07}.jpg": number for number in range(first, first + count)}

        def one(key: str) -> None:
            for _ in range(600):  # the store may be away just now
                try:
                    body = tiny_jpeg(made[key] % 4096) + made[key].to_bytes(4, "big")
                    client.put_object(Bucket=ORIGINALS, Key=FOLDER + key, Body=body)
                    return
                except Exception:
                    time.sleep(0.5)
            raise RuntimeError(f"{key} could not be put")

        with ThreadPoolExecutor(8) as hands:
            list(hands.map(one, made))
        client.close()
        self.keys |= made.keys()

    def run(self, role: str, *words: str) -> tuple[int, Any, str]:
        """One command: its exit code, what it said, its last complaint. Negative codes are signals."""
        self.running[role] = process = subprocess.Popen(
            command(*words, "--json", "--config", self.config),
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            self.running.pop(role, None)
            if process.poll() is None:
                process.kill()
        if process.returncode not in (0, 3):
            with (self.config.parent / "commands.log").open("a") as log:
                log.write(f"--- {self.diary.now} {' '.join(words)}: {process.returncode}\n{errors}\n")
        said = json.loads(out) if out.strip().startswith(("{", "[")) else None
        complaint = errors.strip().splitlines()[-1][:300] if errors.strip() else ""
        return process.returncode, said, complaint

    # --- the actors

    def nights(self) -> None:
        """New photos, then a night over whatever is new, again and again."""
        while not self.stop.is_set():
            self.put("new", self.arrivals)
            code, said, complaint = self.run("night", "night", "--direct")
            message = said["message"] if said else complaint
            self.diary.note("night", message, code=code, compressed=said["compressed"] if said else 0)
            self.stop.wait(self.pause)

    def backfills(self) -> None:
        """A backfill of a wave of old photos, worked on until it is done; then another wave."""
        while not self.stop.is_set():
            while not self.stop.is_set() and (oldest := self.oldest("backfill")) is not None:
                code, said, complaint = self.run("backfill", "backfill", "run", oldest)
                self.diary.note("backfill", said["why"] if said else complaint, code=code)
                self.stop.wait(1)
            self.begin_wave()

    def begin_wave(self) -> None:
        """Old photos, and a backfill of them that is begun, however often that takes."""
        self.waves += 1
        folder = f"old-{self.waves:03}"
        if not self.stop.is_set():
            self.put(folder, self.wave)
        while not self.stop.is_set():
            code, _, complaint = self.run("backfill", "backfill", "start", "--prefix", f"{folder}/")
            self.diary.note("backfill", f"begun for {folder}" if code == 0 else complaint, code=code)
            if code == 0 or self.oldest(
                "status"
            ):  # killed while it was planned: running it goes on with that
                return
            self.stop.wait(1)

    def oldest(self, role: str) -> str | None:
        """The backfill that was begun first of those that are not over; asked until somebody answers."""
        while True:
            code, said, _ = self.run(role, "backfill", "status")
            if code == 0:
                waiting = [one["id"] for one in said if one["state"] in ("active", "working")]
                return waiting[-1] if waiting else None
            time.sleep(1)

    def kills(self, caretaker: Caretaker) -> None:
        """Somebody dies by SIGKILL, about once a pause."""
        dice = random.Random(self.seed)
        while not self.stop.wait(dice.uniform(0.5, 1.5) * self.pause):
            victim = dice.choice(VICTIMS)
            if victim in ("night", "backfill"):
                process = self.running.get(victim)
                if process is not None and process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                    self.diary.note("killer", f"the driver of the {victim}")
                continue
            dead = kill(victim, self.plant, caretaker, lambda: None, dice)
            if dead is not None:
                self.diary.note("killer", f"{dead.process}, away for {dead.away:.1f} s")

    def skies(self, weather: Weather) -> None:
        """The way to the store changes about once a pause."""
        dice = random.Random(self.seed + 1)
        while not self.stop.is_set():
            name, how = dice.choice(SKIES)
            weather.change(**how)
            self.diary.note("weather", name)
            longest = WORST_SECONDS if name == "full" else self.pause
            self.stop.wait(min(longest, dice.uniform(0.5, 1.5) * self.pause))
        weather.change()

    def watch(self) -> None:
        """Memory of each role, every two seconds; ``warm`` of processes that have been there for a while."""
        while not self.stop.wait(2):
            found = {"at": self.diary.now}
            for role in ("night", "backfill"):
                if (process := self.running.get(role)) is not None:
                    self._sample(role, process.pid, found, DRIVER_WARM)
            for part in (self.plant.scheduler, *self.plant.dask_workers):
                if (process := part.process.found()) is not None:
                    self._sample(part.process.name, process.pid, found, PART_WARM)
            self.diary.memory.append(found)

    def _sample(self, role: str, pid: int, found: dict[str, float], warm: float) -> None:
        """Of the largest of a family, which is the one that computes."""
        with contextlib.suppress(psutil.Error, ValueError):
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            sizes = {one: one.memory_info().rss for one in family}
            largest = max(sizes, key=lambda one: sizes[one])
            found[role] = round(sizes[largest] / 1e6, 1)
            if time.time() - largest.create_time() > warm:
                self.diary.warm.setdefault(role, []).append(found[role])

    def _whole(self, act: Callable[[], None]) -> Callable[[], None]:
        """An actor who cannot go on says so."""

        def acting() -> None:
            try:
                act()
            except Exception as error:
                self.broken.append(f"{type(error).__name__}: {error}"[:300])
                raise

        return acting

    def everybody(self, caretaker: Caretaker, weather: Weather) -> list[Callable[[], None]]:
        acts = [
            self.nights,
            self.backfills,
            lambda: self.kills(caretaker),
            lambda: self.skies(weather),
            self.watch,
        ]
        return [self._whole(act) for act in acts]

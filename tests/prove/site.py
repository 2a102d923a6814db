"""One installation in a folder of its own, and the real ``fwd2bot`` command run in it, killed or not.

Knows processes and files. Knows nothing about what must hold afterwards (``checks``).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from infra.crashpoints import VARIABLE
from tests.parts.process import kill_session, members

WORKERS = 2
BATCH = 50
PATIENCE = 900.0  # seconds that one night may take

_SETTINGS = """\
[archive]
store = "archive"
ledger = "ledger.sqlite"

[collections.line]
originals = "{photos}"

[compressor]
bundle = "{bundle}"

[execution]
executor = "local"
workers = {workers}

[night]
engine = "direct"
batch_size = {batch}
smallest_batch = {batch}
"""


@dataclass(frozen=True)
class Ended:
    """How one command ended. ``code`` is negative for a signal; ``said`` is its JSON, empty if it said none."""

    code: int
    seconds: float
    said: dict[str, Any]
    errors: str
    session: int  # all its processes belong to this session


class Site:
    """An archive, a ledger and a settings file under ``folder``, over photos that lie elsewhere."""

    def __init__(self, folder: Path, photos: Path, bundle: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.archive = folder / "archive"
        self.ledger = folder / "ledger.sqlite"
        self._settings = folder / "fwd2bot.toml"
        self._settings.write_text(
            _SETTINGS.format(photos=photos.as_uri(), bundle=bundle, workers=WORKERS, batch=BATCH)
        )

    def night(
        self,
        *,
        crash_at: str | None = None,
        extra: dict[str, str] | None = None,
        meanwhile: Callable[[subprocess.Popen[str]], None] = lambda _: None,
    ) -> Ended:
        """``fwd2bot night``; ``crash_at`` names a step to die at, ``meanwhile`` watches the process."""
        return self.run("night", "--direct", crash_at=crash_at, extra=extra, meanwhile=meanwhile)

    def run(
        self,
        *words: str,
        crash_at: str | None = None,
        extra: dict[str, str] | None = None,
        meanwhile: Callable[[subprocess.Popen[str]], None] = lambda _: None,
    ) -> Ended:
        """One command with ``--json``, in a session of its own."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FWD2BOT_")} | (extra or {})
        if crash_at:
            environment[VARIABLE] = crash_at
        command = Path(sys.executable).with_name("fwd2bot")
        begun = time.monotonic()
        with (self.folder / "said").open("w+") as said, (self.folder / "errors").open("w+") as errors:
            process = subprocess.Popen(
                [command, *words, "--json", "--config", self._settings],
                stdout=said,  # files, since a pipe would stay open as long as an orphaned worker lives
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,
            )
            meanwhile(process)
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                kill_session(process.pid)
                code = process.wait()
            took = time.monotonic() - begun
            said.seek(0)
            errors.seek(0)
            return Ended(code, round(took, 1), _json(said.read()), errors.read()[-2000:], process.pid)


def _json(text: str) -> dict[str, Any]:
    with contextlib.suppress(json.JSONDecodeError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}


def outlived_by(session: int, patience: float = 60.0) -> float:
    """Seconds until nothing of a killed command is left; ``inf`` if something stays."""
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        if not any(members(session)):
            return round(time.monotonic() - begun, 1)
        time.sleep(0.1)
    return float("inf")


def kill_driver_after(seconds: float) -> Callable[[subprocess.Popen[str]], None]:
    """SIGKILL to the command itself, unless it ends before."""

    def watch(process: subprocess.Popen[str]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
        process.kill()

    return watch


def kill_worker_after(
    seconds: float, dice: random.Random, killed: list[int]
) -> Callable[[subprocess.Popen[str]], None]:
    """SIGKILL to one of the worker processes, ``seconds`` after there are as many as there should be; its id is
    appended to ``killed``, which stays empty if the night ends before."""

    def watch(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and len(_workers(process.pid)) < WORKERS:
            time.sleep(0.05)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
        if found := _workers(process.pid):
            killed.append(dice.choice(found))
            os.kill(killed[-1], signal.SIGKILL)

    return watch


def _workers(driver: int) -> list[int]:
    found = []
    for child in members(driver):
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child.pid)
    return sorted(found)

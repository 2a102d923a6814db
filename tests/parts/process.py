"""A program that goes on when whoever started it ends, and that is found again by its pid file.

Knows processes, sessions and signals. Knows nothing about what a program does, or when it is ready.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

STOP_SECONDS = 30.0
_CHILDREN: list[subprocess.Popen[bytes]] = []  # of this process: to be waited for when they end


@dataclass(frozen=True)
class Process:
    """One program; without a command it can only be looked for.

    Its log and its pid file lie in ``folder``; the latter also names its start, so that a reused number is not taken
    for it. ``owner`` is what ``subprocess`` takes to run it as another user.
    """

    name: str
    folder: Path
    command: list[str] = field(default_factory=list)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    owner: Mapping[str, Any] = field(default_factory=dict)
    stops_by: signal.Signals = signal.SIGTERM

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def found(self) -> psutil.Process | None:
        """The living process, or None."""
        for child in _CHILDREN:
            child.poll()
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            pid, started = self._pid_file.read_text().split()
            process = psutil.Process(int(pid))
            ended = process.status() == psutil.STATUS_ZOMBIE
            return None if ended or str(process.create_time()) != started else process
        return None

    def lives(self) -> bool:
        return self.found() is not None

    def start(self) -> None:
        """In a session of its own, so that Ctrl-C in the terminal of its starter does not reach it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                self.command,
                env=dict(self.variables),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.owner,
            )
        _CHILDREN.append(child)
        self._pid_file.write_text(f"{child.pid} {psutil.Process(child.pid).create_time()}")

    def stop(self) -> bool:
        """Ask it to end, then make it; with all that it started. Whether it was there."""
        process = self.found()
        if process is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        session, below = process.pid, process.children(recursive=True)  # a night has a session of its own
        process.send_signal(self.stops_by)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(STOP_SECONDS)
        _kill(below)
        kill_session(session)
        self.found()  # so that it is no zombie of ours
        self._pid_file.unlink(missing_ok=True)
        return True

    def kill(self) -> int:
        """SIGKILL to it alone; what it started is left to itself. Its pid."""
        process = self.found()
        assert process is not None, f"{self.name} is not there to be killed"
        process.kill()
        process.wait(STOP_SECONDS)
        return int(process.pid)


def members(session: int) -> Iterator[psutil.Process]:
    """Living processes of a session, also those whose parent is gone."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def kill_session(session: int) -> None:
    """End whatever is left of a command that we started; it is gone afterwards."""
    _kill(list(members(session)))


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=STOP_SECONDS)

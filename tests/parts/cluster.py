"""The plant's Dask: a TLS scheduler and workers as processes of their own, started as `cluster certs` prints it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil

from tests.parts.process import Process
from tests.servers import dask_cluster


class Certified:
    """Certificates, made once, and the commands that were printed then."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def command(self, role: str) -> tuple[list[str], dict[str, str]]:
        """Words and variables that start a role."""
        file = self.folder / "commands.json"
        if not file.exists():
            file.write_text(json.dumps(dask_cluster.commands(self.folder, self.port)))
        words, variables = json.loads(file.read_text())[role]
        return words, variables


class Scheduler:
    """It knows no secret of the stores."""

    def __init__(self, folder: Path, certified: Certified) -> None:
        self._folder, self._certified = folder, certified
        self.address = f"tls://127.0.0.1:{certified.port}"
        self.process = Process("scheduler", folder)

    def start(self) -> None:
        """Until it listens."""
        words, variables = self._certified.command("scheduler")
        process = Process("scheduler", self._folder, words, {**os.environ, **variables})
        process.start()
        dask_cluster.await_listener(self._certified.port, process.lives, process.log)


class Worker:
    """A nanny and its worker; ``secrets`` are the variables with the stores' credentials."""

    def __init__(self, name: str, folder: Path, certified: Certified, secrets: dict[str, str]) -> None:
        self._name, self._folder, self._certified, self._secrets = name, folder, certified, secrets
        self.address = f"to tls://127.0.0.1:{certified.port}"
        self.process = Process(name, folder)

    def start(self) -> None:
        """Whether the scheduler has it is asked by who needs it."""
        words, variables = self._certified.command("worker")
        words = [*words, "--name", self._name, "--local-directory", str(self._folder / self._name)]
        threads = {"OMP_NUM_THREADS": "1"}
        Process(
            self._name, self._folder, words, {**threads, **os.environ, **self._secrets, **variables}
        ).start()

    def inner(self) -> psutil.Process | None:
        """The process that computes; its nanny replaces it when it dies."""
        nanny = self.process.found()
        children = nanny.children() if nanny is not None else []
        return next((one for one in children if "spawn_main" in " ".join(one.cmdline())), None)

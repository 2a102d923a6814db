"""The plant's Prefect: a server on PostgreSQL that asks for a password, and a worker of the pool."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from pathlib import Path

from flows import engine
from tests.parts.database import Database
from tests.parts.kept import Kept
from tests.parts.process import Process

START_SECONDS = 240.0  # the first start makes its tables
POOL = "fwd2bot"


class Server:
    """Records of runs, and the clock that starts nights. Its pages are at its address."""

    def __init__(self, folder: Path, kept: Kept, database: Database) -> None:
        self._folder, self._kept, self._database = folder, kept, database
        self.address = f"http://127.0.0.1:{kept.ports['prefect']}"
        self.api = f"{self.address}/api"
        self.process = Process("prefect-server", folder)

    def client(self) -> dict[str, str]:
        """Variables of whoever talks to it."""
        return {
            **engine._DEFAULTS,
            "PREFECT_HOME": str(self._folder / "home"),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": self._kept.prefect_auth,
        }

    def start(self) -> None:
        """Until it answers."""
        self._database.make("prefect")
        variables = {
            **_without_prefect(),
            **self.client(),
            "PREFECT_API_DATABASE_CONNECTION_URL": self._database.server.url("prefect", "asyncpg"),
            "PREFECT_SERVER_API_AUTH_STRING": self._kept.prefect_auth,
            "PREFECT_SERVER_UI_API_URL": self.api,
        }
        port = str(self._kept.ports["prefect"])
        words = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        process = Process("prefect-server", self._folder, words, variables)
        process.start()
        self._await_health(process)

    def _await_health(self, process: Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.api}/health", timeout=3).close()
                return
            except OSError as error:
                if not process.lives() or time.monotonic() > deadline:
                    raise RuntimeError(f"Prefect's server did not answer; see {process.log}") from error
                time.sleep(0.2)


class PoolWorker:
    """Starts each night that is due as a process beside itself, with the variables that it has."""

    def __init__(self, folder: Path, server: Server, secrets: dict[str, str]) -> None:
        self._folder, self._server, self._secrets = folder, server, secrets
        self.address = f"of pool {POOL}"
        self.process = Process("prefect-worker", folder)

    def start(self) -> None:
        """It asks every few seconds whether something is due."""
        variables = {
            **_without_prefect(),
            **self._server.client(),
            **self._secrets,
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "OMP_NUM_THREADS": "1",
        }
        words = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", POOL]
        Process("prefect-worker", self._folder, words, variables).start()


def _without_prefect() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}

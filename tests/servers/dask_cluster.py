"""A Dask scheduler with TLS and one worker, as processes of their own, by the commands that `cluster certs` prints."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.houses import fwd2bot

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class TlsCluster:
    address: str
    certificates: Path
    scheduler: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]


@contextmanager
def tls_cluster(folder: Path) -> Iterator[TlsCluster]:
    """Certificates are made for 127.0.0.1 alone; logs lie in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    certificates, port = folder / "certs", free_port()
    started = commands(certificates, port)
    with ExitStack() as running:
        scheduler, worker = (
            running.enter_context(_started(*started[name], folder, name)) for name in ("scheduler", "worker")
        )
        await_listener(port, lambda: scheduler.poll() is None, folder / "scheduler.log")
        yield TlsCluster(f"tls://127.0.0.1:{port}", certificates, scheduler, worker)


def commands(certificates: Path, port: int) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Makes certificates; how scheduler and worker of 127.0.0.1 are started, and with which variables."""
    made = fwd2bot("cluster", "certs", certificates, "--host", "127.0.0.1", "--json")
    said = json.loads(made.stdout)["start"]
    return {name: _parsed(said[name], port) for name in ("scheduler", "worker")}


def _parsed(line: str, port: int) -> tuple[list[str], dict[str, str]]:
    setting, dask, *rest = shlex.split(line.replace("8786", str(port)))
    assert dask == "dask"
    variable, _, value = setting.partition("=")
    return [sys.executable, "-m", "dask", *rest], {variable: value, "PYTHONPATH": str(ROOT)}


@contextmanager
def _started(
    command: list[str], variables: dict[str, str], folder: Path, name: str
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()  # a nanny takes its worker along
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_listener(port: int, lives: Callable[[], bool], log: Path, seconds: float = 60) -> None:
    """Until something listens there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert lives(), log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as there:
        return int(there.getsockname()[1])

"""A Dask scheduler with TLS and one worker, as processes of their own, by the commands that `cluster certs` prints."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
    made = fwd2bot("cluster", "certs", certificates, "--host", "127.0.0.1", "--json")
    commands = json.loads(made.stdout)["start"]
    with ExitStack() as running:
        scheduler, worker = (
            running.enter_context(_started(commands[name], port, folder, name))
            for name in ("scheduler", "worker")
        )
        _await(port, scheduler, folder / "scheduler.log")
        yield TlsCluster(f"tls://127.0.0.1:{port}", certificates, scheduler, worker)


@contextmanager
def _started(command: str, port: int, folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    setting, dask, *rest = shlex.split(command.replace("8786", str(port)))
    assert dask == "dask"
    variable, _, value = setting.partition("=")
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *rest],
            env={**os.environ, variable: value, "PYTHONPATH": str(ROOT)},
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


def _await(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Until something listens there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as there:
        return int(there.getsockname()[1])

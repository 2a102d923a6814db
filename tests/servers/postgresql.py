"""A real PostgreSQL server for tests: one private cluster in a folder of its own, on loopback, with a password.

Knows how to find, start and stop what the distribution's ``postgresql`` package installs; the server refuses to run as
root, so there it runs as the package's user. Knows nothing of the code under test. Nothing is synced to disk: a test
that kills the server itself has no use for this one.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READY_WITHIN_SECONDS = 60.0
USER = "fwd2bot"
PACKAGED = Path("/usr/lib/postgresql")  # where Debian and Ubuntu put each version's programs
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "50",
    "deadlock_timeout": "200ms",  # a deadlock is a bug: say so soon
}


@dataclass(frozen=True)
class PostgresServer:
    """Where the server listens and who may talk to it."""

    port: int
    password: str = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def make_database(self) -> str:
        """A new empty database; its SQLAlchemy URL."""
        name = f"ledger_{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=10,
        )


def missing() -> str | None:
    """What has to be installed before the server can run here; None: nothing."""
    if _programs() is None:
        return "no PostgreSQL server is installed: apt-get install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "no PostgreSQL driver is installed: pip install 'fwd2bot[postgres]'"
    return None


@contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """Run a server for the length of the block. Raises ``RuntimeError`` with the log's end if that fails."""
    programs = _programs()
    assert programs is not None, missing()
    with tempfile.TemporaryDirectory(prefix="fwd2bot-postgresql-") as folder:
        home = Path(folder)
        server = PostgresServer(_free_port(), secrets.token_hex(16))
        identity = _identity(home)
        _initialise(programs, home, server.password, identity)
        log = home / "server.log"
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [programs / "postgres", "-D", home / "data", "-p", str(server.port), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                **identity,
            )
        try:
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # without a last checkpoint: the data is thrown away
            process.wait()


def _programs() -> Path | None:
    """The folder with the newest server's programs: found on PATH, or where the package hides them."""
    found = shutil.which("postgres")
    if found is not None and shutil.which("initdb") is not None:
        return Path(found).parent
    versions = [path for path in PACKAGED.glob("*/bin") if (path / "postgres").exists()]
    return max(versions, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), default=None)


def _identity(home: Path) -> dict[str, Any]:
    """As whom the server runs; its folder then belongs to that user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    os.chown(home, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _initialise(programs: Path, home: Path, password: str, identity: dict[str, Any]) -> None:
    secret = home / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if identity:
        os.chown(secret, identity["user"], identity["group"])
    command = [programs / "initdb", "-D", home / "data", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
    command += ["--auth=scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(command, cwd=home, check=True, timeout=120, capture_output=True, **identity)
    secret.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while True:
        try:
            server._connect().close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(
                    f"PostgreSQL did not become ready ({error}); its log ends:\n{tail}"
                ) from error
            time.sleep(0.05)
        else:
            return

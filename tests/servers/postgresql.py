"""A real PostgreSQL server for tests: one private cluster in a folder of its own, on loopback, with a password.

Knows how to find, start and stop what the distribution's ``postgresql`` package installs; the server refuses to run as
root, so there it runs as the package's user. Knows nothing of the code under test. Nothing that the server of
``postgresql()`` holds is synced to disk; ``tests.parts.database`` runs one that may be killed.
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
from collections.abc import Callable, Iterator, Mapping
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
    "shared_buffers": "32MB",
    "max_connections": "50",
    "deadlock_timeout": "200ms",  # a deadlock is a bug: say so soon
}
THROWN_AWAY = {  # with a server whose data nobody wants afterwards
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
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
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str, driver: str = "psycopg") -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+{driver}://{USER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def connect(self) -> Any:
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
    if installed() is None:
        return "no PostgreSQL server is installed: apt-get install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "no PostgreSQL driver is installed: pip install 'fwd2bot[postgres]'"
    return None


@contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """Run a server for the length of the block. Raises ``RuntimeError`` with the log's end if that fails."""
    with tempfile.TemporaryDirectory(prefix="fwd2bot-postgresql-") as folder:
        home = Path(folder)
        server = PostgresServer(_free_port(), secrets.token_hex(16))
        owner = owner_of(home)
        initialise(home, server.password, owner)
        log = home / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(home, server.port, OPTIONS | THROWN_AWAY),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                **owner,
            )
        try:
            wait_until_ready(server, lambda: process.poll() is None, log)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # without a last checkpoint: the data is thrown away
            process.wait()


def command(home: Path, port: int, options: Mapping[str, str]) -> list[str]:
    """What serves the data that lie in ``home``."""
    given = [f"--{name}={value}" for name, value in options.items()]
    return [str(_programs() / "postgres"), "-D", str(home / "data"), "-p", str(port), *given]


def _programs() -> Path:
    found = installed()
    assert found is not None, missing()
    return found


def installed() -> Path | None:
    """The folder with the newest server's programs: found on PATH, or where the package hides them."""
    found = shutil.which("postgres")
    if found is not None and shutil.which("initdb") is not None:
        return Path(found).parent
    versions = [path for path in PACKAGED.glob("*/bin") if (path / "postgres").exists()]
    return max(versions, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), default=None)


def owner_of(home: Path) -> dict[str, Any]:
    """As whom the server runs; its folder then belongs to that user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    os.chown(home, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def initialise(home: Path, password: str, owner: Mapping[str, Any]) -> None:
    """Lay out an empty cluster under ``home``, whose superuser has this password."""
    secret = home / "password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    if owner:
        os.chown(secret, owner["user"], owner["group"])
    words = [_programs() / "initdb", "-D", home / "data", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
    words += ["--auth=scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(words, cwd=home, check=True, timeout=120, capture_output=True, **owner)
    secret.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(server: PostgresServer, lives: Callable[[], bool], log: Path) -> None:
    """Ready is when somebody is let in. Raises ``RuntimeError`` with the log's end if that does not come."""
    import psycopg

    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError as error:
            if not lives() or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(
                    f"PostgreSQL did not become ready ({error}); its log ends:\n{tail}"
                ) from error
            time.sleep(0.05)
        else:
            return

"""The plant's PostgreSQL: one server for the ledger and for Prefect, whose data survive a kill."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from pathlib import Path

import psycopg
from psycopg import sql

from tests.parts.kept import Kept
from tests.parts.process import Process
from tests.servers import postgresql

AGAIN_SECONDS = 20.0  # after a kill, the processes of the old server are still ending
ENTERED_BY_ALL = 0o001


class Database:
    """``server`` says how it is reached."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        self._home = folder
        self.server = postgresql.PostgresServer(kept.ports["database"], kept.database_password)
        self.process = Process("database", folder, stops_by=signal.SIGINT)

    @property
    def address(self) -> str:
        return f"postgresql://{postgresql.USER}@127.0.0.1:{self.server.port}"

    def start(self) -> None:
        """Until it lets us in."""
        self._home.mkdir(parents=True, exist_ok=True)
        owner = postgresql.owner_of(self._home)
        if owner:
            self._must_be_entered()
        if not (self._home / "data" / "PG_VERSION").exists():
            shutil.rmtree(self._home / "data", ignore_errors=True)  # of an initdb that was interrupted
            postgresql.initialise(self._home, self.server.password, owner)
        words = postgresql.command(self._home, self.server.port, postgresql.OPTIONS)
        process = Process("database", self._home, words, {}, owner, signal.SIGINT)
        deadline = time.monotonic() + AGAIN_SECONDS
        while True:
            process.start()
            try:
                postgresql.wait_until_ready(self.server, process.lives, process.log)
                return
            except RuntimeError:
                if process.lives() or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def make(self, name: str) -> str:
        """A database of that name, if it is not there; its SQLAlchemy URL."""
        with self.server.connect() as connection, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.server.url(name)

    def _must_be_entered(self) -> None:
        """The server refuses to run as root, and its own user must get to the folder."""
        for above in self._home.resolve().parents:
            if not above.stat().st_mode & ENTERED_BY_ALL:
                raise RuntimeError(
                    f"PostgreSQL runs as the user postgres, who may not enter {above}; name another folder, or "
                    f"`chmod o+x {above}`"
                )

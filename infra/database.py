"""Opening the ledger: SQLite (the default) or PostgreSQL, migrated to this software's schema on first use.

Two kinds of transaction: ``read`` sees one snapshot, ``write`` is serialised from its first statement, so
that what was checked in it still holds when it commits. Knows nothing about which statements are run.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import ConnectionPoolEntry

from fwd2bot_core.errors import LedgerError, LedgerLocked, LedgerNewer, LedgerUnreachable, SettingsError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

BUSY_SECONDS = 30.0
OLDEST_POSTGRESQL = 15
MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x66776432  # of pg_advisory_xact_lock; any constant that nothing else uses


class Ledger:
    """The SQL database. Safe to use from several threads and processes."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self.engine = engine
        self.name = name  # the URL without its password

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One snapshot; nothing is written but temporary tables."""
        with _translated(self.name), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction that no other writer can interleave with (SQLite), or at serialised rows (others).
        Commits at the end of the block, rolls back on any exception."""
        with _translated(self.name), self.engine.connect() as connection:
            connection = connection.execution_options(fwd2bot_write=True)
            with connection.begin():
                yield connection

    def now(self, connection: sa.Connection) -> sa.ColumnElement[str]:
        """The database's own clock in SQL: the one clock that all drivers share."""
        if connection.dialect.name == "sqlite":
            return sa.literal_column("strftime('%Y-%m-%d %H:%M:%f000', 'now')")
        return sa.literal_column("clock_timestamp()")

    def close(self) -> None:
        self.engine.dispose()


def open_ledger(url: str, *, busy_seconds: float = BUSY_SECONDS) -> Ledger:
    """Connect and migrate forward.

    Raises ``LedgerUnreachable``, ``LedgerLocked``, ``LedgerNewer`` when a newer Fwd2Bot has been here, and
    ``LedgerError`` for a PostgreSQL that is too old.
    """
    ledger = _connect(url, busy_seconds)
    try:
        with ledger.read() as connection:  # most commands only read, and wait for nobody
            _refuse_old(connection, ledger.name)
            current = _is_current(connection)
        if not current:
            with ledger.write() as connection:
                _migrate(connection, ledger.name)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _connect(url: str, busy_seconds: float) -> Ledger:
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite_engine(parsed, busy_seconds)
        else:
            engine = sa.create_engine(parsed, pool_pre_ping=True)
    except sa.exc.ArgumentError as error:
        raise SettingsError(f"archive.ledger is no database URL: {error}") from None
    except ImportError as error:
        raise SettingsError(
            f"the driver of the ledger's database is not installed: {error}. "
            "For PostgreSQL: pip install 'fwd2bot[postgres]'"
        ) from None
    return Ledger(engine, parsed.render_as_string(hide_password=True))


def _sqlite_engine(url: sa.URL, busy_seconds: float) -> sa.Engine:
    if url.database:
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerUnreachable(f"cannot make the ledger's folder {folder}: {error.strerror}") from None
    engine = sa.create_engine(url, connect_args={"timeout": busy_seconds, "isolation_level": None})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        _use_wal(cursor, busy_seconds)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred transaction that turns to writing fails at once when somebody else wrote meanwhile;
        # an immediate one waits its turn, busy_seconds long.
        write = connection.get_execution_options().get("fwd2bot_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _use_wal(cursor: DBAPICursor, busy_seconds: float) -> None:
    """SQLite's own timeout does not cover this: of two that open a new file at once, one is refused immediately."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _alembic() -> tuple[Config, ScriptDirectory]:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config, ScriptDirectory.from_config(config)


def _revision(connection: sa.Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _refuse_old(connection: sa.Connection, name: str) -> None:
    """Before a migration fails in its middle over something that such a server cannot do."""
    has = connection.dialect.server_version_info
    if connection.dialect.name == "postgresql" and has is not None and has < (OLDEST_POSTGRESQL,):
        raise LedgerError(
            f"the ledger {name} is on PostgreSQL {'.'.join(map(str, has))}, and {OLDEST_POSTGRESQL} is the oldest "
            "version that Fwd2Bot works with: upgrade the server (pg_upgrade). Nothing was changed."
        )


def _is_current(connection: sa.Connection) -> bool:
    _, scripts = _alembic()
    return _revision(connection) == scripts.get_current_head()


def _migrate(connection: sa.Connection, name: str) -> None:
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    config, scripts = _alembic()
    found = _revision(connection)
    if found == scripts.get_current_head():
        return
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise LedgerNewer(
            f"the ledger {name} has schema {found!r}, which this Fwd2Bot does not know: a newer one made it. "
            "Upgrade Fwd2Bot; nothing was changed."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Database errors as our own, each with what to do."""
    try:
        yield
    except sa.exc.OperationalError as error:
        cause = str(error.orig)
        if "locked" in cause or "busy" in cause:
            raise LedgerLocked(
                f"the ledger {name} stayed locked by another process. Find who holds it and try again."
            ) from error
        raise LedgerUnreachable(f"the ledger {name} cannot be used: {cause}") from error
    except sa.exc.DatabaseError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
            raise LedgerUnreachable(f"{name} is no SQLite database. Check archive.ledger.") from error
        raise LedgerError(f"the ledger {name} failed: {error.orig}") from error

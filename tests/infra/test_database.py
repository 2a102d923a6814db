"""Opening the ledger: new, old, newer, locked, broken, by several at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import infra.database
from fwd2bot_core.errors import LedgerError, LedgerLocked, LedgerNewer, LedgerUnreachable, SettingsError
from infra.database import Ledger, open_ledger
from infra.tables import audit_head, collections, metadata, object_versions, summaries

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


ROWS: dict[str, dict[str, Any]] = {  # a single image, as the first release wrote it down
    "collections": {"id": 1, "name": "a", "originals": "", "prefix": "", "registered_at": AT},
    "compressors": {
        "id": 1, "fingerprint": "f", "name": "n", "k": 1, "d": 1, "dtype": "float32", "token_bytes": 4,
        "registered_at": AT,
    },
    "object_versions": {
        "id": 1, "collection_id": 1, "key": "k", "identity": "i", "size": 1, "modified": AT, "salt": b"s" * 16,
        "first_seen_at": AT,
    },
    "runs": {
        "id": "r", "kind": "night", "collection_id": 1, "compressor_id": 1, "state": "completed", "fencing": 1,
        "night": AT.date(), "started_at": AT, "host": "h", "pid": 1, "software": "s",
    },
    "batches": {
        "id": "b", "collection_id": 1, "compressor_id": 1, "run_id": "r", "night": AT.date(), "state": "committed",
        "units": 1, "bytes": 1, "attempts": 1, "planned_at": AT,
    },
    "shards": {
        "id": 1, "path": "p", "batch_id": "b", "collection_id": 1, "compressor_id": 1, "run_id": "r",
        "night": AT.date(), "sha256": "s", "bytes": 1, "rows": 1, "committed_at": AT,
    },
    "summaries": {
        "object_version_id": 1, "compressor_id": 1, "shard_id": 1, "row": 3, "source_bytes": 1, "token_bytes": 512
    },
}  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/deep/er/ledger.sqlite"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url, busy_seconds=0.2)
    yield opened
    opened.close()


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def insert_collection(connection: sa.Connection, name: str = "a", at: datetime = AT) -> None:
    connection.execute(collections.insert().values(name=name, originals="", prefix="", registered_at=at))


def names(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.execute(sa.select(collections.c.name)).scalars())


def test_a_new_ledger_has_every_table_and_an_empty_log(ledger: Ledger) -> None:
    assert set(sa.inspect(ledger.engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    with ledger.read() as connection:
        assert connection.execute(sa.select(audit_head.c.size)).scalar_one() == 0


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_references_have_the_names_that_the_code_gives_them(ledger: Ledger) -> None:
    """So that a later migration can drop them; SQLite knows none for a column that was added."""
    inspected = sa.inspect(ledger.engine)
    for table in metadata.tables.values():
        wanted = {str(key.name) for key in table.foreign_key_constraints}
        found = {key["name"] for key in inspected.get_foreign_keys(table.name)}
        if ledger.engine.dialect.name == "sqlite" and table is summaries:
            found = {name or "fk_summaries_probe_set_id" for name in found}
        assert found == wanted


def test_a_ledger_of_the_first_release_keeps_its_rows_and_knows_no_fidelity(ledger_url: str) -> None:
    config, _ = infra.database._alembic()
    engine = sa.create_engine(ledger_url)
    old = {
        name: sa.table(name, *(sa.column(column, metadata.tables[name].c[column].type) for column in row))
        for name, row in ROWS.items()
    }
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for name, row in ROWS.items():
            connection.execute(old[name].insert().values(**row))
    engine.dispose()
    opened = open_ledger(ledger_url)
    with opened.write() as connection:
        (row,) = connection.execute(sa.select(summaries)).all()
        assert (row.row, row.token_bytes) == (3, 512)
        assert (row.fidelity, row.worst_probe, row.probe_set_id) == (None, None, None)
    with pytest.raises(LedgerError), opened.write() as connection:  # the new column refers to its table
        connection.execute(summaries.update().values(probe_set_id=77))
    opened.close()


def test_opening_again_changes_nothing(url: str) -> None:
    open_ledger(url).close()
    before = file_of(url).read_bytes()
    open_ledger(url).close()
    assert file_of(url).read_bytes() == before


def test_several_processes_may_open_a_new_ledger_at_once(ledger_url: str) -> None:
    program = f"from infra.database import open_ledger; open_ledger({ledger_url!r}).close(); print('open')"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert [(*process.communicate(timeout=60), process.returncode) for process in started] == [
        ("open\n", "", 0)
    ] * 4


def test_a_ledger_of_a_newer_software_is_left_alone(url: str) -> None:
    open_ledger(url).close()
    with sqlite3.connect(file_of(url)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    before = file_of(url).read_bytes()
    with pytest.raises(LedgerNewer, match="Upgrade Fwd2Bot; nothing was changed"):
        open_ledger(url)
    assert file_of(url).read_bytes() == before


def test_a_newer_softwares_ledger_on_a_server_is_left_alone(ledger: Ledger, ledger_url: str) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerNewer, match="Upgrade Fwd2Bot; nothing was changed") as said:
        open_ledger(ledger_url)
    password = sa.make_url(ledger_url).password
    assert password is None or password not in str(said.value)


@pytest.fixture
def locked(url: str) -> Iterator[str]:
    """A ledger that somebody else writes to for a long time."""
    file_of(url).parent.mkdir(parents=True, exist_ok=True)
    open_ledger(url).close()
    holder = sqlite3.connect(file_of(url), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield url
    holder.close()


def test_a_locked_ledger_can_be_opened_and_read_and_says_so_when_it_is_to_be_written(locked: str) -> None:
    ledger = open_ledger(locked, busy_seconds=0.1)
    assert names(ledger) == []
    with pytest.raises(LedgerLocked, match="locked by another process"), ledger.write():
        raise AssertionError("two writers at once")
    ledger.close()


def test_a_locked_ledger_that_must_be_made_is_said_after_the_busy_timeout(url: str) -> None:
    file_of(url).parent.mkdir(parents=True)
    holder = sqlite3.connect(file_of(url), isolation_level=None)
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(LedgerLocked, match="locked by another process"):
            open_ledger(url, busy_seconds=0.1)
    finally:
        holder.close()
    open_ledger(url, busy_seconds=0.1).close()


def test_a_new_ledger_that_somebody_else_is_opening_is_waited_for(url: str) -> None:
    """SQLite refuses to change to its write-ahead log at once, whatever its timeout, while anybody writes."""
    file_of(url).parent.mkdir(parents=True)
    writer = sqlite3.connect(file_of(url), isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerLocked, match="locked by another process"):
        open_ledger(url, busy_seconds=0.1)
    leaving = threading.Timer(0.3, writer.close)
    leaving.start()
    open_ledger(url, busy_seconds=30).close()
    leaving.join()


@pytest.mark.parametrize("text", [b"these are my photos, not a database" * 100, b"short"])
def test_a_file_that_is_no_database_is_said_and_kept(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(text)
    with pytest.raises(LedgerUnreachable, match="no SQLite database"):
        open_ledger(f"sqlite:///{file}")
    assert file.read_bytes() == text


def test_a_folder_in_the_ledgers_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreachable, match="cannot be used"):
        open_ledger(f"sqlite:///{tmp_path}")


def test_a_file_in_the_place_of_the_ledgers_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnreachable, match="cannot make the ledger's folder"):
        open_ledger(f"sqlite:///{tmp_path}/file/ledger.sqlite")


@pytest.mark.parametrize("url", ["no url", "nosuchdatabase://x/y", "oracle+nosuchdriver://x"])
def test_a_url_of_no_database_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="ledger"):
        open_ledger(url)


def test_a_password_is_not_in_the_ledgers_name(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_ledger("postgresql+nosuchdriver://user:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_a_write_commits_at_its_end(ledger: Ledger) -> None:
    with ledger.write() as connection:
        insert_collection(connection)
    assert names(ledger) == ["a"]


def test_an_exception_takes_everything_back(ledger: Ledger) -> None:
    def fail_half_way() -> None:
        with ledger.write() as connection:
            insert_collection(connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert names(ledger) == []


def test_a_second_writer_waits_from_its_first_statement(url: str) -> None:
    ledger, other = open_ledger(url), open_ledger(url, busy_seconds=0.1)
    with ledger.write() as connection:
        insert_collection(connection)
        with pytest.raises(LedgerLocked), other.write():
            raise AssertionError("two writers at once")
        assert names(other) == []  # readers do not wait, and see the last commit
    other.close()
    ledger.close()


def test_a_read_sees_one_snapshot(ledger: Ledger) -> None:
    with ledger.read() as connection:
        count = sa.select(sa.func.count()).select_from(collections)
        assert connection.execute(count).scalar_one() == 0
        with ledger.write() as writer:
            insert_collection(writer)
        assert connection.execute(count).scalar_one() == 0


def test_foreign_keys_are_enforced(ledger: Ledger) -> None:
    orphan = object_versions.insert().values(
        collection_id=99, key="k", identity="i", size=1, modified=AT, salt=bytes(16), first_seen_at=AT
    )
    with pytest.raises(LedgerError, match=r"(?i)foreign key"), ledger.write() as connection:
        connection.execute(orphan)


def test_times_come_back_aware_and_in_utc(ledger: Ledger) -> None:
    tokyo = datetime(2026, 11, 24, 21, 0, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with ledger.write() as connection:
        insert_collection(connection, at=tokyo)
        found = connection.execute(sa.select(collections.c.registered_at)).scalar_one()
    assert found == tokyo
    assert found.utcoffset() == timedelta(0)


def test_a_naive_time_is_refused(ledger: Ledger) -> None:
    naive = AT.replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="aware datetimes only"), ledger.write() as connection:
        insert_collection(connection, at=naive)
    assert names(ledger) == []

"""The guard rails of the audit tables: what a slip of the hand cannot change, and what must change all the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.errors import LedgerError
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.tables import (
    audit_anchors,
    audit_checkpoints,
    audit_events,
    audit_head,
    audit_keys,
    audit_nodes,
    audit_states,
    audit_values,
)
from tests.servers.intruder import as_intruder

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROWS: dict[sa.Table, dict[str, Any]] = {
    audit_nodes: {"level": 1, "number": 0, "hash": bytes(32)},
    audit_keys: {"id": "0a1b2c3d", "vkey": "fwd2bot+0a1b2c3d+AAAA", "since": 0},
    audit_checkpoints: {"size": 1, "root": bytes(32), "note": "a note", "signed_at": AT},
    audit_anchors: {"size": 1, "anchor": "wall", "kind": "directory", "place": "/a/place", "anchored_at": AT},
    audit_states: {
        "seq": 0, "path": "audit/states/a", "sha256": "0" * 64, "rows": 1, "root": "0" * 64, "secret": b"s" * 32
    },
}  # fmt: skip
TABLES = [audit_events, *ROWS]
CHANGES: list[tuple[sa.Table, dict[str, Any]]] = [
    (audit_events, {"body": b"{}"}),
    (audit_events, {"run_id": None}),
    (audit_nodes, {"hash": b"x" * 32}),
    (audit_keys, {"vkey": "mine"}),
    (audit_keys, {"until": 5, "since": 1}),
    (audit_checkpoints, {"note": "another"}),
    (audit_anchors, {"retain_until": AT}),
    (audit_states, {"root": "1" * 64}),
    (audit_states, {"secret": b"t" * 32}),
    (audit_states, {"secret": b"", "rows": 2}),
    (audit_head, {"size": 0}),
]


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """With a row in each of the tables."""
    opened = open_ledger(ledger_url)
    with opened.write() as connection:
        audit_log.append(connection, Event(type="test", occurred_at=AT, actor=Actor("r", "tester")))
        audit_log.reference(connection, "actor", "tanaka")
        for table, row in ROWS.items():
            connection.execute(table.insert().values(**row))
    yield opened
    opened.close()


def do(ledger: Ledger, statement: sa.Executable) -> None:
    with ledger.write() as connection:
        connection.execute(statement)


def content(ledger: Ledger, table: sa.Table) -> list[Any]:
    with ledger.read() as connection:
        return list(connection.execute(sa.select(table)).all())


def assert_refused(ledger: Ledger, table: sa.Table, statement: sa.Executable) -> None:
    """The statement is refused with a sentence that names the table, and nothing has changed."""
    before = content(ledger, table)
    assert before
    with pytest.raises(LedgerError, match=f"{table.name} only grows: what the audit trail holds is never"):
        do(ledger, statement)
    assert content(ledger, table) == before


@pytest.mark.parametrize(("table", "values"), CHANGES, ids=lambda value: str(value))
def test_nothing_is_changed(ledger: Ledger, table: sa.Table, values: dict[str, Any]) -> None:
    assert_refused(ledger, table, table.update().values(**values))


@pytest.mark.parametrize("table", [*TABLES, audit_head], ids=str)
def test_nothing_is_removed(ledger: Ledger, table: sa.Table) -> None:
    assert_refused(ledger, table, table.delete())


@pytest.mark.parametrize("table", [*TABLES, audit_head], ids=str)
def test_no_row_is_replaced(ledger: Ledger, ledger_url: str, tmp_path: Path, table: sa.Table) -> None:
    """Neither by this software nor by a program that opens the file with SQLite's defaults."""
    if ledger.engine.dialect.name == "postgresql":
        assert_refused(ledger, table, sa.text(f"TRUNCATE {table.name} CASCADE"))
        return
    replacing = f"INSERT OR REPLACE INTO {table.name} SELECT * FROM {table.name}"
    assert_refused(ledger, table, sa.text(replacing))
    stranger = sqlite3.connect(tmp_path / "ledger.sqlite")
    for way in (replacing, replacing.replace("INSERT OR REPLACE", "REPLACE"), f"DELETE FROM {table.name}"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            stranger.execute(way)
    stranger.close()


def test_an_event_is_not_replaced_through_its_other_key(ledger: Ledger, tmp_path: Path) -> None:
    """Another number with the same ``event_id`` would push the old row out."""
    if ledger.engine.dialect.name == "postgresql":
        pytest.skip("PostgreSQL has no INSERT OR REPLACE")
    stranger = sqlite3.connect(tmp_path / "ledger.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="audit_events only grows"):
        stranger.execute(
            "INSERT OR REPLACE INTO audit_events (seq, event_id, type, occurred_at, body, leaf)"
            " SELECT 7, event_id, type, occurred_at, body, leaf FROM audit_events"
        )
    stranger.close()


def test_a_key_is_retired_once(ledger: Ledger) -> None:
    do(ledger, audit_keys.update().values(until=9))
    assert content(ledger, audit_keys)[0].until == 9
    for until in (10, None):
        assert_refused(ledger, audit_keys, audit_keys.update().values(until=until))


def test_what_must_be_erasable_is(ledger: Ledger) -> None:
    do(ledger, audit_states.update().values(secret=b""))
    assert content(ledger, audit_states)[0].secret == b""
    do(ledger, audit_values.update().values(value="erased"))
    do(ledger, audit_values.delete())
    assert content(ledger, audit_values) == []


def test_the_log_still_grows(ledger: Ledger) -> None:
    with ledger.write() as connection:
        more = [Event(type="test", occurred_at=AT, actor=Actor("r", "tester")) for _ in range(3)]
        assert audit_log.append_all(connection, more) == 1
    assert content(ledger, audit_head)[0].size == 4


def test_they_are_no_security_boundary(ledger: Ledger) -> None:
    """Who owns the tables drops the triggers first: what finds that out are anchored checkpoints."""
    with ledger.write() as connection:
        as_intruder(connection)
    for table in reversed(TABLES):
        do(ledger, table.delete())
        assert content(ledger, table) == []
    do(ledger, audit_head.update().values(size=0))

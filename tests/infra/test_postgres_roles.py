"""The roles that infra/deploy/postgres-roles.sql makes, on a real server: what each may do, and what none may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import LedgerError, LedgerUnreachable
from infra import audit_log
from infra.checkpoints import sign_checkpoint
from infra.database import Ledger, open_ledger
from infra.installation import Installation
from infra.tables import RunState, audit_events, audit_values, collections
from tasks import report
from tasks.audit_verify import verify_log
from tasks.verify import verify
from tests.houses import night

SCRIPT = Path(__file__).parents[2] / "infra" / "deploy" / "postgres-roles.sql"
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
PASSWORD = "only-in-this-test"
APP, AUDITOR, MIGRATE = "fwd2bot_app", "fwd2bot_auditor", "fwd2bot_migrate"
NO_RIGHT = "permission denied|must be owner"

LOG = ("audit_events", "audit_nodes", "audit_segments", "audit_checkpoints", "audit_anchors")
FORBIDDEN_TO_APP = [
    *(f"UPDATE {table} SET {column} = {column}" for table, column in (
        ("audit_events", "body"), ("audit_nodes", "hash"), ("audit_segments", "path"),
        ("audit_checkpoints", "note"), ("audit_anchors", "place"),
        ("audit_keys", "vkey"), ("audit_states", "root"), ("audit_head", "id"),
        ("installation", "uuid"), ("alembic_version", "version_num"),
    )),
    *(f"DELETE FROM {table}" for table in (*LOG, "audit_keys", "audit_states", "audit_head")),
    *(f"TRUNCATE {table} CASCADE" for table in LOG),
    "INSERT INTO audit_head (id, size, frontier) VALUES (2, 0, '')",
    "DROP TRIGGER audit_events_no_update ON audit_events",
    "ALTER TABLE audit_events DISABLE TRIGGER ALL",
    "DROP TABLE audit_events CASCADE",
    "CREATE TABLE mine (a int)",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "SET session_replication_role = replica",
    "SET ROLE fwd2bot_migrate",
]  # fmt: skip


def apply(admin_url: str) -> None:
    """As the database administrator runs it, whole."""
    plain = sa.make_url(admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(SCRIPT.read_bytes())
        for role in (APP, AUDITOR, MIGRATE):
            connection.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")


def url_of(admin_url: str, role: str) -> str:
    return sa.make_url(admin_url).set(username=role, password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def admin_url(postgres_url: Callable[[], str]) -> str:
    """A ledger made as docs/audit-roles.md says: roles, tables by the one that may make them, grants."""
    made = postgres_url()
    apply(made)
    open_ledger(url_of(made, MIGRATE)).close()
    apply(made)
    return made


@pytest.fixture
def opened(admin_url: str) -> Iterator[Callable[[str], Ledger]]:
    """``opened(role)``: the ledger with one event in its log, as that role."""
    ledgers: list[Ledger] = []

    def build(role: str) -> Ledger:
        ledgers.append(open_ledger(url_of(admin_url, role)))
        return ledgers[-1]

    with build(APP).write() as connection:
        append(connection)
    yield build
    for ledger in ledgers:
        ledger.close()


def append(connection: sa.Connection) -> int:
    return audit_log.append(connection, Event(type="test", occurred_at=AT, actor=Actor("r", "tester")))


def run(ledger: Ledger, statement: str) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text(statement))


def test_the_application_can_neither_change_nor_remove_what_is_in_the_log(
    opened: Callable[[str], Ledger],
) -> None:
    ledger = opened(APP)
    for statement in FORBIDDEN_TO_APP:
        with pytest.raises(LedgerError, match=NO_RIGHT):
            run(ledger, statement)
    with ledger.read() as connection:
        assert len(connection.execute(sa.select(audit_events)).all()) == 1


def test_the_application_appends_retires_keys_and_erases_names(opened: Callable[[str], Ledger]) -> None:
    ledger = opened(APP)
    with ledger.write() as connection:
        assert append(connection) == 1
        audit_log.reference(connection, "actor", "tanaka")
        connection.execute(audit_values.delete())
        connection.execute(sa.text("INSERT INTO audit_keys (id, vkey, since) VALUES ('k', 'v', 0)"))
        connection.execute(sa.text("UPDATE audit_keys SET until = 1"))


def test_the_auditor_reads_everything_and_writes_nothing(opened: Callable[[str], Ledger]) -> None:
    ledger = opened(AUDITOR)
    tables = sa.inspect(ledger.engine).get_table_names()
    assert {"audit_events", "audit_checkpoints", "audit_values", "runs", "object_versions"} <= set(tables)
    with ledger.read() as connection:
        for table in tables:
            connection.execute(sa.text(f"SELECT * FROM {table} LIMIT 1"))
    for table in tables:
        for statement in (f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES", f"TRUNCATE {table}"):
            with pytest.raises(LedgerError, match=NO_RIGHT):
                run(ledger, statement)
    for statement in [
        *FORBIDDEN_TO_APP,
        "UPDATE audit_head SET size = size",
        "CREATE TEMP TABLE mine (a int)",
    ]:
        with pytest.raises(LedgerError, match=NO_RIGHT):
            run(ledger, statement)
    with pytest.raises(LedgerError, match=NO_RIGHT), ledger.write() as connection:
        append(connection)


def test_who_migrates_owns_the_tables_and_meets_the_guard_rails(opened: Callable[[str], Ledger]) -> None:
    ledger = opened(MIGRATE)
    with pytest.raises(LedgerError, match="audit_events only grows"):
        run(ledger, "DELETE FROM audit_events")
    run(ledger, "ALTER TABLE audit_events ADD COLUMN later text")


def test_a_table_of_a_new_release_is_nobody_elses_until_it_is_granted(
    opened: Callable[[str], Ledger], admin_url: str
) -> None:
    run(opened(MIGRATE), "CREATE TABLE audit_news (a int)")
    for role in (APP, AUDITOR):
        with pytest.raises(LedgerError, match=NO_RIGHT):
            run(opened(role), "SELECT * FROM audit_news")
    apply(admin_url)
    run(opened(AUDITOR), "SELECT * FROM audit_news")
    run(opened(APP), "INSERT INTO audit_news VALUES (1)")
    with pytest.raises(LedgerError, match=NO_RIGHT):
        run(opened(APP), "DELETE FROM audit_news")


def test_nobody_else_gets_in(opened: Callable[[str], Ledger], admin_url: str) -> None:
    admin = open_ledger(admin_url)
    run(admin, "DROP ROLE IF EXISTS fwd2bot_stranger")
    run(admin, f"CREATE ROLE fwd2bot_stranger LOGIN PASSWORD '{PASSWORD}'")
    admin.close()
    with pytest.raises(LedgerUnreachable, match="permission denied for database"):
        open_ledger(url_of(admin_url, "fwd2bot_stranger"))


def test_an_older_schema_is_left_alone_by_the_application(postgres_url: Callable[[], str]) -> None:
    """Its tables were not made yet: only the owner may make them."""
    made = postgres_url()
    apply(made)
    with pytest.raises(LedgerError, match=NO_RIGHT):
        open_ledger(url_of(made, APP))
    open_ledger(url_of(made, MIGRATE)).close()


def test_a_ledger_that_a_superuser_made_is_handed_over(postgres_url: Callable[[], str]) -> None:
    made = postgres_url()
    open_ledger(made).close()
    apply(made)
    apply(made)
    ledger = open_ledger(url_of(made, MIGRATE))
    run(ledger, "ALTER TABLE audit_head ADD COLUMN later text")
    run(ledger, "DROP FUNCTION audit_refuse() CASCADE")
    ledger.close()


def test_a_whole_night_runs_as_the_application_and_is_checked_as_the_auditor(
    admin_url: str, house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    (photos(25)[0].parent / "broken.jpg").write_bytes(b"no photo")
    made = house(archive={"ledger": url_of(admin_url, APP)})
    assert night(made).state == RunState.PARTLY_FAILED
    photos(10, start=30)
    assert night(made).compressed == 10
    signed = sign_checkpoint(made, reason="test")
    checking = house(archive={"ledger": url_of(admin_url, AUDITOR)})
    found = verify(checking.ledger, checking.archive)
    assert found.findings == ()
    log = verify_log(checking)
    assert log.events == found.events == signed.size > 5
    assert log.checkpoints > 0
    assert {finding.verdict for finding in log.findings} <= {
        Verdict.NOT_YET_ANCHORED
    }  # the plain house has no anchor
    assert "line-1" in report.render(checking, collection=None, runs=5, at=AT)
    with checking.ledger.read() as connection:
        assert connection.execute(sa.select(collections.c.name)).scalar_one() == "line-1"

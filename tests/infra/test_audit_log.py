"""The log's numbers and bytes: no gap, no fork, no name."""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.audit.canonical import commitment, parse
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.work import Unit, batch_id_of
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.installation import Installation
from infra.tables import audit_events, audit_head, audit_values, batches, object_versions, runs
from tests.houses import COLLECTION, night


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


def event(type: str = "test") -> Event:
    return Event(type=type, occurred_at=audit_log.now(), actor=Actor("ref", "operator"), run_id="run")


def append_many(url: str, count: int) -> None:
    ledger = open_ledger(url)
    for _ in range(count):
        with ledger.write() as connection:
            audit_log.append(connection, event())
    ledger.close()


def assert_whole(ledger: Ledger, size: int) -> None:
    """Numbers 0..size-1; each body is what was hashed and says its own number."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(audit_events).order_by(audit_events.c.seq)).all()
        assert connection.execute(sa.select(audit_head.c.size)).scalar_one() == size
    assert [row.seq for row in rows] == list(range(size))
    for row in rows:
        body = parse(row.body)
        assert row.leaf == leaf_hash(row.body)
        assert (body["seq"], body["event_id"], body["type"]) == (row.seq, row.event_id, row.type)


def test_processes_that_append_at_once_leave_no_gap(ledger: Ledger, ledger_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=append_many, args=(ledger_url, 50)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert_whole(ledger, 200)


def test_an_event_whose_transaction_fails_leaves_no_number_behind(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.write() as connection:
            audit_log.append(connection, event())
            raise RuntimeError

    with ledger.write() as connection:
        assert audit_log.append(connection, event()) == 0
    with pytest.raises(RuntimeError):
        fail()
    with ledger.write() as connection:
        assert audit_log.append(connection, event()) == 1
    assert_whole(ledger, 2)


def test_a_name_keeps_its_reference_and_its_salt_lies_where_it_can_be_erased(ledger: Ledger) -> None:
    with ledger.write() as connection:
        first = audit_log.reference(connection, "collection", "line-1")
        assert audit_log.reference(connection, "collection", "line-1") == first
        assert audit_log.reference(connection, "actor", "line-1") != first
        salt = connection.execute(
            sa.select(audit_values.c.salt).where(audit_values.c.ref == first)
        ).scalar_one()
        assert commitment(salt, "collection", "line-1") == first
        connection.execute(audit_values.delete())
        assert audit_log.reference(connection, "collection", "line-1") != first


def test_the_operator_without_a_user_name_is_still_somebody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    with ledger.write() as connection:
        actor = audit_log.actor(connection, "operator")
        assert actor.ref == audit_log.reference(connection, "actor", "unknown")


def test_a_whole_night_names_nobody(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the log nor an object's path nor a run's summary: none of them can be erased from."""
    monkeypatch.setattr(getpass, "getuser", lambda: "tanaka-hanako")
    made = photos(25)
    (made[0].parent / "suzuki-jiro.jpg").write_bytes(b"a broken photo")
    name = "clinic-sato"
    installation = house(**{f"collections.{name}": {"originals": "photos"}})
    summaries = [run_night(installation.settings, name, SilentScreen()) for _ in range(2)]
    assert (summaries[0].compressed, summaries[0].failed, summaries[1].listed) == (25, 1, 26)

    with installation.ledger.read() as connection:
        bodies = connection.execute(sa.select(audit_events.c.body)).scalars().all()
        versions = connection.execute(sa.select(object_versions)).all()
        records = connection.execute(sa.select(runs.c.summary)).scalars().all()
    segments = [installation.archive.read(found.key) for found in installation.archive.list("audit/")]
    paths = [found.key for prefix in ("audit/", "tokens/") for found in installation.archive.list(prefix)]
    assert len(bodies) >= 6
    assert len(segments) == 2
    assert len(paths) == 4
    assert_whole(installation.ledger, len(bodies))
    said = "\n".join([*(body.decode() for body in [*bodies, *segments]), *paths, *records])
    secret = {name, "tanaka-hanako", str(made[0].parent)}
    for row in versions:
        secret |= {row.key, row.identity, row.content_sha256, row.salt.hex()}
        secret |= {hashlib.sha256(text.encode()).hexdigest() for text in (row.key, row.identity)}
    assert [word for word in secret if word in said] == []


def test_which_photos_a_batch_holds_cannot_be_found_out_by_trying(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    """The log names batches by what is in them; whoever knows a photo must not recognise it there."""
    photos(1)
    names = set()
    for fresh in ("a", "b"):  # the same photo, in two installations
        installation = house(archive={"store": f"archive-{fresh}", "ledger": f"{fresh}.sqlite"})
        night(installation)
        with installation.ledger.read() as connection:
            row = connection.execute(sa.select(object_versions)).one()
            (batch_id,) = connection.execute(sa.select(batches.c.id)).scalars()
        unit = Unit(row.id, COLLECTION, row.key, row.identity, row.size, row.modified, row.salt)
        assert batch_id == batch_id_of([unit], installation.spec(COLLECTION).fingerprint)
        for guess in (b"", bytes(16)):
            guessed = replace(unit, salt=guess)
            assert batch_id != batch_id_of([guessed], installation.spec(COLLECTION).fingerprint)
        names.add(batch_id)
    assert len(names) == 2


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgresql"])
def test_times_are_stored_as_their_columns_type_stores_them(dialect: sa.Dialect) -> None:
    usual = audit_events.c.occurred_at.type.dialect_impl(dialect).bind_processor(dialect)
    for at in (
        datetime(2026, 11, 24, 12, 0, 0, 4, tzinfo=UTC),
        datetime(2026, 11, 24, 3, 0, tzinfo=timezone(timedelta(hours=9))),
    ):
        assert audit_log._TIMES[dialect.name](at) == usual(at)

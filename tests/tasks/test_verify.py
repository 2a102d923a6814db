"""Every kind of damage to the log and to the objects that it names is found and named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.verify
from fwd2bot_core.audit.canonical import canonical, parse
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.errors import StoreUnreachable
from infra.installation import Installation
from infra.objects.file import FileStore
from infra.tables import audit_events, audit_segments, shards
from tasks.summary import NightSummary
from tasks.verify import Finding, Scrub, verify
from tests.houses import night
from tests.servers.intruder import as_intruder
from tests.tasks.steps import rows


@pytest.fixture
def installation(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Installation:
    """A night of three shards."""
    photos(45)
    made = house()
    night(made)
    return made


def scrub(house: Installation) -> Scrub:
    return verify(house.ledger, house.archive)


def flip(house: Installation, path: str, at: int) -> None:
    data = bytearray(house.archive.read(path))
    data[at] ^= 1
    house.archive.replace(path, bytes(data))


def alter(house: Installation, statement: sa.Update | sa.Delete) -> None:
    with house.ledger.write() as connection:
        assert as_intruder(connection).execute(statement).rowcount == 1


def first_commit(house: Installation) -> Any:
    """The first event that says what was committed."""
    commits = sa.select(audit_events).where(audit_events.c.type == "batch.committed")
    return rows(house, commits.order_by(audit_events.c.seq))[0]


def test_what_was_committed_is_clean(installation: Installation) -> None:
    told: list[tuple[int, int]] = []
    found = verify(installation.ledger, installation.archive, progress=lambda *done: told.append(done))
    size = sum(row.bytes for table in (shards, audit_segments) for row in rows(installation, table))
    assert found == Scrub(objects=6, bytes=size, events=len(rows(installation, audit_events)))
    assert told == [(number, 6) for number in range(1, 7)]


@pytest.mark.parametrize(("kind", "table"), [("shard", shards), ("segment", audit_segments)])
@pytest.mark.parametrize("at", [0, 0.5, -1])
def test_a_single_flipped_bit_is_found_and_named(
    installation: Installation, kind: str, table: sa.Table, at: float
) -> None:
    row = rows(installation, table)[1]
    flip(installation, row.path, int(at * row.bytes) if at > 0 else int(at))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == (kind, row.path)
    assert "Restore it from a backup" in finding.problem


@pytest.mark.parametrize(("kind", "table"), [("shard", shards), ("segment", audit_segments)])
def test_a_missing_object_is_found_and_named(installation: Installation, kind: str, table: sa.Table) -> None:
    row = rows(installation, table)[0]
    installation.archive.delete_version(installation.archive.stat(row.path))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == (kind, row.path)


def test_a_whole_shard_in_another_ones_place_is_found(installation: Installation) -> None:
    first, second, _ = rows(installation, shards)
    installation.archive.replace(first.path, installation.archive.read(second.path))
    assert [finding.name for finding in scrub(installation).findings] == [first.path]


def test_an_altered_event_is_found(installation: Installation) -> None:
    row = first_commit(installation)
    changed = row.body.replace(b'"rejected":0', b'"rejected":1')
    assert changed != row.body
    alter(installation, audit_events.update().where(audit_events.c.seq == row.seq).values(body=changed))
    problem = "its body does not give its leaf hash"
    assert scrub(installation).findings == (Finding("event", str(row.seq), problem),)


def test_an_event_whose_hash_was_altered_too_still_says_its_own_number(installation: Installation) -> None:
    """Two events exchanged, each with its leaf: only the number inside the body tells."""
    first, second = rows(installation, sa.select(audit_events).order_by(audit_events.c.seq))[1:3]
    for seq, other in ((1, second), (2, first)):
        same = audit_events.c.seq == seq
        alter(installation, audit_events.update().where(same).values(body=other.body, leaf=other.leaf))
    assert [finding.name for finding in scrub(installation).findings] == ["1", "2"]


def test_a_missing_event_is_found(installation: Installation) -> None:
    alter(installation, audit_events.delete().where(audit_events.c.seq == 1))
    assert scrub(installation).findings == (Finding("event", "1", "missing: the log goes on at 2"),)


def test_a_missing_last_event_is_found(installation: Installation) -> None:
    last = len(rows(installation, audit_events)) - 1
    alter(installation, audit_events.delete().where(audit_events.c.seq == last))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == ("event", str(last))


@pytest.mark.parametrize(
    "values",
    [
        {"type": "batch.planned"},
        {"run_id": "night-of-somebody-else"},
        {"event_id": "00000000-0000-4000-8000-000000000000"},
        {"occurred_at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_an_events_columns_must_say_what_its_body_says(
    installation: Installation, values: dict[str, Any]
) -> None:
    seq = first_commit(installation).seq
    alter(installation, audit_events.update().where(audit_events.c.seq == seq).values(**values))
    (name,) = values
    problem = f"its columns say another {name} than its body"
    assert scrub(installation).findings == (Finding("event", str(seq), problem),)


def test_a_commit_that_does_not_say_what_was_committed_is_found(installation: Installation) -> None:
    """Its leaf hash agrees: somebody who can compute one wrote it."""
    row = first_commit(installation)
    body = parse(row.body)
    del body["after"]["shard"]["sha256"]
    forged = {"body": canonical(body), "leaf": leaf_hash(canonical(body))}
    alter(installation, audit_events.update().where(audit_events.c.seq == row.seq).values(**forged))
    event, *others = scrub(installation).findings
    problem = "it does not say what was committed: after.shard.sha256: Field required"
    assert event == Finding("event", str(row.seq), problem)
    assert [finding.what for finding in others] == ["ledger", "ledger"]  # rows that no event explains


def test_a_log_longer_than_a_page_is_walked_to_its_end(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.verify, "EVENTS_AT_ONCE", 2)
    clean = scrub(installation)
    assert clean.findings == ()
    assert (clean.events, clean.objects) == (len(rows(installation, audit_events)), 6)


def test_nights_may_run_meanwhile(installation: Installation, photos: Callable[..., list[Path]]) -> None:
    """What is committed while the scrub goes on is read too, and nothing is missing or too much."""
    done: list[NightSummary] = []

    def meanwhile(*_: int) -> None:
        if not done:
            photos(20, start=100)
            done.append(night(installation))

    found = verify(installation.ledger, installation.archive, progress=meanwhile)
    assert done[0].compressed == 20
    assert found.findings == ()
    assert found.events == len(rows(installation, audit_events))


def test_each_of_several_damages_is_named(installation: Installation) -> None:
    for row in rows(installation, shards):
        flip(installation, row.path, 100)
    alter(installation, audit_events.update().where(audit_events.c.seq == 0).values(leaf=bytes(32)))
    assert [finding.what for finding in scrub(installation).findings] == ["event"] + ["shard"] * 3


def test_a_store_that_does_not_answer_is_no_damage(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> bytes:
        raise StoreUnreachable("no route to host")

    monkeypatch.setattr(FileStore, "read", unreachable)
    with pytest.raises(StoreUnreachable):
        scrub(installation)


def test_nothing_is_repaired_or_written(installation: Installation, tmp_path: Path) -> None:
    row = rows(installation, shards)[0]
    flip(installation, row.path, 100)

    def everything() -> dict[str, bytes]:
        return {entry.key: installation.archive.read(entry.key) for entry in installation.archive.list()}

    before = everything()
    with installation.ledger.write():  # nobody could write now
        scrub(installation)
    assert everything() == before

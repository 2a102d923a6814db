"""Orphans go when they are old, with an event each; what is committed never goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import tasks.sweep
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import LeaseLost
from infra.installation import Installation
from infra.tables import audit_events, leases
from tasks.sweep import orphans, sweep
from tasks.verify import verify
from tests.tasks.steps import begin, committed, compressed, planned, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
NOW = timedelta(0)


def swept_events(house: Installation) -> list[str]:
    query = sa.select(audit_events.c.body).where(audit_events.c.type == "orphan.swept")
    return sorted(parse(row.body)["subject"]["path"] for row in rows(house, query))


def keys(house: Installation) -> set[str]:
    return {entry.key for entry in house.archive.list() if not entry.key.startswith("manifests/")}


def test_only_uncommitted_objects_are_orphans(house: BuildHouse, photos: Photos) -> None:
    photos(40)
    installation = house()
    run, _, found = planned(installation)
    (done,) = committed(installation, run, found[:1])
    lost = compressed(installation, found[1])
    assert lost.shard is not None
    assert done.shard is not None
    expected = {lost.shard.path, lost.segment.path}
    assert {entry.key for entry in orphans(installation.ledger, installation.archive)} == expected

    assert sweep(installation.ledger, installation.archive, run, older_than=timedelta(hours=1)) == 0
    assert keys(installation) == expected | {done.shard.path, done.segment.path}
    assert swept_events(installation) == []

    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == 2
    assert keys(installation) == {done.shard.path, done.segment.path}
    assert swept_events(installation) == sorted(expected)
    assert verify(installation.ledger, installation.archive).findings == ()


def test_manifests_and_strangers_are_not_touched(house: BuildHouse, photos: Photos) -> None:
    installation = house()
    run = begin(installation)
    for key in ("manifests/line-1/compressor=0/latest.json", "README.txt", "audit/checkpoint", "tokensnot/x"):
        installation.archive.create(key, b"kept")
    before = {entry.key for entry in installation.archive.list()}
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == 0
    assert {entry.key for entry in installation.archive.list()} == before


def test_long_lists_are_looked_up_by_the_chunk(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.sweep, "CHUNK", 2)
    photos(10)
    installation = house(night={"batch_size": 1, "smallest_batch": 1})
    run, _, found = planned(installation)
    committed(installation, run, found[:5])
    kept = keys(installation)
    for batch in found[5:]:
        compressed(installation, batch)
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == 10
    assert keys(installation) == kept


def test_what_was_committed_since_it_was_listed_stays_and_is_not_called_swept(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    listed = list(orphans(installation.ledger, installation.archive))
    committed(installation, run, found)
    monkeypatch.setattr(tasks.sweep, "orphans", lambda *_: iter(listed))
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == 0
    assert keys(installation) == {entry.key for entry in listed}
    assert swept_events(installation) == []


def test_an_orphan_that_somebody_else_removed_is_no_error(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    listed = list(orphans(installation.ledger, installation.archive))
    installation.archive.delete_version(listed[0])
    monkeypatch.setattr(tasks.sweep, "orphans", lambda *_: iter(listed))
    sweep(installation.ledger, installation.archive, run, older_than=NOW)
    assert keys(installation) == set()


def test_a_run_that_lost_its_lease_sweeps_nothing(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    before = keys(installation)
    with installation.ledger.write() as connection:
        connection.execute(leases.update().values(fencing=9))
    with pytest.raises(LeaseLost):
        sweep(installation.ledger, installation.archive, run, older_than=NOW)
    assert keys(installation) == before


def test_a_batch_whose_orphans_were_swept_is_compressed_again(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    sweep(installation.ledger, installation.archive, run, older_than=NOW)
    committed(installation, run, found)
    assert verify(installation.ledger, installation.archive).findings == ()

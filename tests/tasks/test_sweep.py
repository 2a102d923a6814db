"""Orphans go when they are old, with an event each; what is committed never goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import tasks.sweep
from fwd2bot_core.errors import LeaseLost, ObjectForbidden, StoreError, StoreUnreachable
from infra import audit_log
from infra.audit_restores import record
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.objects.file import FileStore
from infra.tables import RunState
from tasks import runs as the_runs
from tasks.sweep import Sweep, orphans, sweep
from tasks.verify import verify
from tests.houses import night
from tests.tasks.steps import begin, committed, compressed, events, lose_the_lease, planned

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
NOW = timedelta(0)


def said(house: Installation) -> list[tuple[str, str, str | None]]:
    """(type, path, why) of each event about an orphan, in their order."""
    found = [event for event in events(house) if event["type"].startswith("orphan.")]
    return [(event["type"], event["subject"]["path"], event.get("reason_code")) for event in found]


def swept_events(house: Installation) -> list[str]:
    return sorted(path for type, path, _ in said(house) if type == "orphan.swept")


def keys(house: Installation) -> set[str]:
    return {entry.key for entry in house.archive.list() if entry.key.startswith(("tokens/", "audit/"))}


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

    assert sweep(installation.ledger, installation.archive, run, older_than=timedelta(hours=1)) == Sweep(0)
    assert keys(installation) == expected | {done.shard.path, done.segment.path}
    assert swept_events(installation) == []

    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(2)
    assert keys(installation) == {done.shard.path, done.segment.path}
    assert swept_events(installation) == sorted(expected)
    for path in expected:  # said before it was done, and again when it was done
        about = [(type, why) for type, of, why in said(installation) if of == path]
        assert about == [("orphan.sweeping", "uncommitted"), ("orphan.swept", None)]
    assert verify(installation.ledger, installation.archive).findings == ()


def test_manifests_and_strangers_are_not_touched(house: BuildHouse, photos: Photos) -> None:
    installation = house()
    run = begin(installation)
    for key in ("manifests/line-1/compressor=0/latest.json", "README.txt", "audit/checkpoint", "tokensnot/x"):
        installation.archive.create(key, b"kept")
    before = {entry.key for entry in installation.archive.list()}
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(0)
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
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(10)
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
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(0)
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
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(2)
    assert keys(installation) == set()


def test_a_run_that_lost_its_lease_sweeps_nothing(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    before = keys(installation)
    lose_the_lease(installation)
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


def test_what_is_committed_between_the_announcement_and_the_deletion_is_kept(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    before = keys(installation)
    announced = tasks.sweep._announced

    def announce_and_commit(*args: Any) -> bool:
        answer = announced(*args)
        committed(installation, run, found)
        return answer

    monkeypatch.setattr(tasks.sweep, "_announced", announce_and_commit)
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(swept=0, kept=1)
    assert keys(installation) == before
    assert [(type, why) for type, _, why in said(installation)] == [
        ("orphan.sweeping", "uncommitted"),
        ("orphan.kept", "committed"),
    ]


@pytest.mark.parametrize("error", [ObjectForbidden, StoreUnreachable])
def test_an_orphan_that_the_store_does_not_let_go_is_kept_and_the_night_succeeds(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch, error: type[StoreError]
) -> None:
    photos(20)
    installation = house(night={"orphan_hours": 0.0})
    run, _, found = planned(installation)
    lost = compressed(installation, found[0])
    assert lost.shard is not None
    installation.archive.create("tokens/strange.parquet", b"left by a crash")
    plain = FileStore.delete_version

    def refuse(store: FileStore, info: ObjectInfo) -> None:
        if info.key == "tokens/strange.parquet":
            raise error("locked")
        plain(store, info)

    monkeypatch.setattr(FileStore, "delete_version", refuse)
    the_runs.fail(installation, run, RuntimeError("a night that left orphans"))
    summary = night(installation)  # compresses the same batch to the same objects, which are orphans no more
    assert (summary.state, summary.exit_code) == (RunState.COMPLETED, 0)
    assert (summary.orphans_swept, summary.orphans_kept) == (0, 1)
    assert said(installation) == [
        ("orphan.sweeping", "tokens/strange.parquet", "uncommitted"),
        ("orphan.kept", "tokens/strange.parquet", error.__name__),
    ]
    monkeypatch.setattr(FileStore, "delete_version", plain)
    again = night(installation)
    assert (again.orphans_swept, again.orphans_kept) == (1, 0)


def test_what_was_there_before_a_restore_is_never_swept(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(20)
    installation = house()
    run, _, found = planned(installation)
    compressed(installation, found[0])
    with installation.ledger.write() as connection:
        size = audit_log.hold(connection)
        record(connection, first=size, last=size + 5, lost=(), reason="disk died", actor=run.actor)
    before = keys(installation)
    assert len(before) == 2
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(0)
    assert keys(installation) == before
    monkeypatch.setattr(tasks.sweep, "CLOCKS_APART", -timedelta(days=1))  # as if it had been made long after
    assert sweep(installation.ledger, installation.archive, run, older_than=NOW) == Sweep(2)

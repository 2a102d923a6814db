"""The manifest says what the ledger says, and nothing that merely lies in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fwd2bot_core.errors import LeaseLost, LedgerLocked
from fwd2bot_core.tokens.manifest import read_manifest
from infra.database import open_ledger
from infra.installation import Installation
from infra.tables import shards
from tasks.publish import pointer_path, publish
from tasks.runs import Run
from tests.houses import COLLECTION, night
from tests.tasks.steps import (
    begin,
    committed,
    compressed,
    die_with_the_process,
    planned,
    rows,
)

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def do_publish(house: Installation, run: Run) -> str:
    return publish(house.ledger, house.archive, run)


def test_the_manifest_lists_what_is_committed_and_no_orphan(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(60)
    installation = house()
    run, _, found = planned(installation)
    committed(installation, run, found[:2])
    compressed(installation, found[2])  # written, not committed
    pointer = do_publish(installation, run)
    assert pointer == pointer_path(COLLECTION, installation.spec(COLLECTION))
    manifest = read_manifest(installation.archive.read(pointer))
    said = [(s.path, s.sha256, s.bytes, s.rows) for s in manifest.shards]
    assert said == sorted((row.path, row.sha256, row.bytes, row.rows) for row in rows(installation, shards))
    assert len(said) == 2
    assert (manifest.rows, manifest.collection) == (40, COLLECTION)
    assert manifest.compressor.fingerprint == installation.spec(COLLECTION).fingerprint
    assert manifest.root == str(tmp_path / "archive")


def test_generations_grow_and_old_ones_stay(house: BuildHouse, photos: Photos) -> None:
    photos(40)
    installation = house()
    run, _, found = planned(installation)
    generations = []
    for batch in found:
        committed(installation, run, [batch])
        generations.append(read_manifest(installation.archive.read(do_publish(installation, run))).generation)
    assert generations == sorted(set(generations))
    folder = pointer_path(COLLECTION, installation.spec(COLLECTION)).rpartition("/")[0]
    kept = {entry.key.rpartition("/")[2] for entry in installation.archive.list(folder)}
    assert kept == {"latest.json", *(f"{number:012d}.json" for number in generations)}
    older = read_manifest(installation.archive.read(f"{folder}/{generations[0]:012d}.json"))
    assert older.rows == 20


def test_it_can_be_rebuilt_from_the_ledger(house: BuildHouse, photos: Photos) -> None:
    photos(10)
    installation = house()
    night(installation)
    archive = installation.archive
    before = {entry.key: archive.read(entry.key) for entry in archive.list("manifests/")}
    for entry in list(archive.list("manifests/")):
        archive.delete_version(entry)
    do_publish(installation, begin(installation))
    assert {entry.key: archive.read(entry.key) for entry in archive.list("manifests/")} == before


def test_publishing_again_after_a_crash_between_the_two_writes(house: BuildHouse, photos: Photos) -> None:
    photos(10)
    installation = house()
    night(installation)
    pointer = pointer_path(COLLECTION, installation.spec(COLLECTION))
    whole = installation.archive.read(pointer)
    installation.archive.delete_version(installation.archive.stat(pointer))
    assert installation.archive.read(do_publish(installation, begin(installation))) == whole


def test_before_the_first_commit_it_is_empty(house: BuildHouse) -> None:
    installation = house()
    manifest = read_manifest(installation.archive.read(do_publish(installation, begin(installation))))
    assert (manifest.rows, manifest.shards) == (0, ())


def test_duckdb_reads_a_night_from_the_manifest_alone(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    from fwd2bot_core.tokens.manifest import DUCKDB

    photos(25)
    installation = house()
    night(installation)
    pointer = tmp_path / "archive" / pointer_path(COLLECTION, installation.spec(COLLECTION))
    with duckdb.connect() as connection:
        found = connection.execute(DUCKDB.format(manifest=pointer, codec="exact")).fetchall()
    assert {row[0] for row in found} == {f"{number:04}.jpg" for number in range(25)}
    assert {len(row[3]) for row in found} == {installation.spec(COLLECTION).token_bytes}


@pytest.mark.parametrize("name", ["line-1", "Line_1.a"])
def test_each_collection_has_a_pointer_of_its_own(house: BuildHouse, name: str) -> None:
    assert pointer_path(name, house().spec(COLLECTION)).startswith(f"manifests/{name}/compressor=")


def test_a_driver_that_was_taken_over_cannot_set_the_pointer_back(house: BuildHouse, photos: Photos) -> None:
    """It read the shards before its successor committed more, and wakes up when that one has published."""
    photos(40)
    installation = house()
    old, _, found = planned(installation)
    committed(installation, old, found[:1])
    do_publish(installation, old)
    die_with_the_process(installation)
    new, _, rest = planned(installation)
    committed(installation, new, rest)
    pointer = do_publish(installation, new)
    archive = installation.archive
    before = {entry.key: archive.read(entry.key) for entry in archive.list("manifests/")}
    with pytest.raises(LeaseLost):
        do_publish(installation, old)
    assert {entry.key: archive.read(entry.key) for entry in archive.list("manifests/")} == before
    assert read_manifest(archive.read(pointer)).rows == 40


def test_nobody_takes_the_lease_over_while_the_pointer_moves(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(5)
    installation = house()
    run, _, found = planned(installation)
    committed(installation, run, found)
    archive = installation.archive
    plain = type(archive).replace
    impatient = open_ledger(installation.ledger.engine.url.render_as_string(), busy_seconds=0.01)

    def replace(store: Any, key: str, data: bytes) -> Any:
        with pytest.raises(LedgerLocked), impatient.write():
            raise AssertionError("somebody could write")
        return plain(store, key, data)

    monkeypatch.setattr(type(archive), "replace", replace)
    do_publish(installation, run)
    impatient.close()

"""The pointer that readers without the ledger believe names what the ledger has committed, or is named itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fwd2bot_core.errors import StoreUnreachable
from infra.installation import Installation
from infra.objects.file import FileStore
from tasks.publish import pointer_path
from tasks.verify import verify
from tests.houses import COLLECTION, night
from tests.tasks.steps import committed, die_with_the_process, planned

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
MEND = "Run `fwd2bot night`, it is rebuilt from the ledger."


@pytest.fixture
def installation(house: BuildHouse, photos: Photos) -> Installation:
    """A night of two shards, published."""
    photos(40)
    made = house()
    night(made)
    return made


def pointer(house: Installation) -> str:
    return pointer_path(COLLECTION, house.spec(COLLECTION))


def problem(house: Installation) -> str:
    """What is said of the pointer, and of nothing else."""
    (finding,) = verify(house.ledger, house.archive).findings
    assert (finding.what, finding.name) == ("manifest", pointer(house))
    return finding.problem


def alter(house: Installation, change: Callable[[dict[str, Any]], object]) -> None:
    said = json.loads(house.archive.read(pointer(house)))
    change(said)
    said["rows"] = sum(shard["rows"] for shard in said["shards"])
    house.archive.replace(pointer(house), json.dumps(said).encode())


def test_a_pointer_older_than_the_ledger_is_found_and_the_next_night_mends_it(
    installation: Installation, photos: Photos
) -> None:
    photos(20, start=100)
    run, _, batches = planned(installation)
    committed(installation, run, batches)
    assert verify(installation.ledger, installation.archive).findings == ()  # that run will publish
    die_with_the_process(installation)
    assert problem(installation) == f"it is older than the ledger: it lacks 1 of 3 committed shards. {MEND}"
    night(installation)
    assert verify(installation.ledger, installation.archive).findings == ()


def test_before_the_first_night_has_ended_there_need_not_be_one(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    made = house()
    run, _, batches = planned(made)
    committed(made, run, batches)
    die_with_the_process(made)
    assert verify(made.ledger, made.archive).findings == ()


def test_a_pointer_that_was_deleted_after_it_was_published(installation: Installation) -> None:
    installation.archive.delete_version(installation.archive.stat(pointer(installation)))
    assert problem(installation) == f"it is missing. {MEND}"


def test_a_pointer_that_is_damaged(installation: Installation) -> None:
    installation.archive.replace(pointer(installation), b"{")
    assert problem(installation).startswith("not a manifest of Fwd2Bot")
    assert problem(installation).endswith(MEND)


def test_a_pointer_that_lacks_a_shard(installation: Installation) -> None:
    alter(installation, lambda said: said["shards"].pop())
    assert "it lacks 1 of 2 committed shards" in problem(installation)


def test_a_pointer_that_names_what_was_never_committed(installation: Installation) -> None:
    def add(said: dict[str, Any]) -> None:
        said["shards"].append(
            said["shards"][0] | {"path": said["shards"][0]["path"].replace("date=", "date=9")}
        )

    alter(installation, add)
    assert "it names 1 shards that the ledger did not commit so" in problem(installation)


def test_a_pointer_that_gives_a_shard_another_hash(installation: Installation) -> None:
    alter(installation, lambda said: said["shards"][0].update(sha256="0" * 64))
    found = verify(installation.ledger, installation.archive).findings
    assert {(finding.what, finding.name) for finding in found} == {("manifest", pointer(installation))}
    assert len(found) == 2  # it names one that is not so, and lacks one that is


def test_a_pointer_of_another_collection(installation: Installation) -> None:
    alter(installation, lambda said: said.update(collection="line-2"))
    assert problem(installation).startswith("it is the manifest of 'line-2'")


def test_a_store_that_stops_answering_is_no_damage(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FileStore.read

    def no_manifest(store: FileStore, key: str, **kwargs: Any) -> bytes:
        if key == pointer(installation):
            raise StoreUnreachable("no route to host")
        return read(store, key, **kwargs)

    monkeypatch.setattr(FileStore, "read", no_manifest)
    with pytest.raises(StoreUnreachable):
        verify(installation.ledger, installation.archive)

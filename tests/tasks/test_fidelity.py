"""Judging afresh: the stored bytes against the original, and a reason where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import NotInArchive, StoreUnreachable, UsageError
from infra import archive
from infra.installation import Installation
from infra.lookup import locate
from infra.objects.file import FileStore
from tasks.fidelity import Judged, chosen, measure
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.steps import everything

PROBES = ["is it whole ?", "which lot ?"]
BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture
def made(house: BuildHouse, photos: Photos) -> Installation:
    photos(7)
    installation = house(
        **{f"collections.{COLLECTION}.fidelity": {"probes": PROBES}, "compressor": {"micro_batch": 3}}
    )
    night(installation)
    return installation


def judged(made: Installation, *images: str, sample: int = 100) -> list[Judged]:
    return list(measure(made, COLLECTION, chosen(made, COLLECTION, images, sample)))


def test_untouched_tokens_are_faithful_and_the_ledger_stays_as_it_is(made: Installation) -> None:
    before, heard = everything(made), []
    found = list(
        measure(
            made,
            COLLECTION,
            chosen(made, COLLECTION, (), 100),
            progress=lambda done, total: heard.append((done, total)),
        )
    )
    assert [(one.fidelity, one.agreeing, one.probes, one.problem) for one in found] == [(1.0, 2, 2, None)] * 7
    assert {one.key for one in found} == {f"{n:04}.jpg" for n in range(7)}
    assert all(one.from_image == one.from_tokens for one in found)
    assert heard == [(3, 7), (6, 7), (7, 7)]
    assert everything(made) == before


def test_a_sample_is_drawn_among_current_images_and_named_ones_come_in_their_order(
    made: Installation, photos: Photos
) -> None:
    assert len(judged(made, sample=4)) == 4
    assert [one.key for one in judged(made, "0005.jpg", "0001.jpg")] == ["0005.jpg", "0001.jpg"]
    (path,) = photos(1, start=5)
    path.write_bytes(tiny_jpeg(99))
    night(made)  # the old version of 0005 is superseded
    found = judged(made)
    assert len(found) == 7
    assert {one.fidelity for one in found} == {1.0}


def test_stored_bytes_that_say_something_else_are_found(
    made: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = archive.many_tokens

    def damaged(installation: Installation, wanted: Any) -> Any:
        lost = [0.4 if stored.key == "0002.jpg" else 0 for stored in wanted]
        return kept(installation, wanted) + np.float32(lost)[:, None, None]

    monkeypatch.setattr(archive, "many_tokens", damaged)
    low = [one for one in judged(made) if one.fidelity != 1.0]
    assert [one.key for one in low] == ["0002.jpg"]
    assert low[0].fidelity is not None
    assert low[0].fidelity <= 0.81
    assert low[0].worst in PROBES


def test_what_cannot_be_judged_has_a_reason_and_takes_nobody_with_it(
    made: Installation, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "0001.jpg").unlink()
    changed = tmp_path / "photos" / "0004.jpg"
    at = changed.stat()
    changed.write_bytes(tiny_jpeg(77)[: at.st_size].ljust(at.st_size, b"\0"))
    os.utime(changed, ns=(at.st_atime_ns, at.st_mtime_ns))  # the same identity, and other bytes
    found = {one.key: one for one in judged(made)}
    assert len(found) == 7
    assert {key for key, one in found.items() if one.problem} == {"0001.jpg", "0004.jpg"}
    assert "vanished" in (found["0001.jpg"].problem or "")
    assert "changed" in (found["0004.jpg"].problem or "")
    assert {one.fidelity for one in found.values() if not one.problem} == {1.0}


def test_a_damaged_shard_is_a_problem_of_its_images(made: Installation) -> None:
    stored = locate(made, "0003.jpg", COLLECTION)
    shard = Path(made.archive.uri.removeprefix("file://")) / stored.shard
    shard.write_bytes(shard.read_bytes()[:-100])
    (found,) = judged(made, "0003.jpg")
    assert found.fidelity is None
    assert "not a readable shard" in (found.problem or "")


@pytest.fixture
def two_shards(house: BuildHouse, photos: Photos) -> Installation:
    """Of five images each."""
    photos(10)
    installation = house(
        night={"batch_size": 5, "smallest_batch": 5},
        compressor={"micro_batch": 5},
        **{f"collections.{COLLECTION}.fidelity": {"probes": PROBES}},
    )
    night(installation)
    return installation


def test_a_missing_shard_is_a_problem_of_its_images_and_takes_no_other_with_it(
    two_shards: Installation,
) -> None:
    gone = locate(two_shards, "0003.jpg", COLLECTION)
    two_shards.archive.delete_version(two_shards.archive.stat(gone.shard))
    found = judged(two_shards)
    assert len(found) == 10
    missing = [one for one in found if one.problem]
    assert len(missing) == 5
    assert all(gone.shard in (one.problem or "") for one in missing)
    assert {one.fidelity for one in found if not one.problem} == {1.0}


def test_a_store_that_is_down_says_nothing_of_any_image(
    two_shards: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnreachable("the store does not answer")

    monkeypatch.setattr(FileStore, "open", down)
    with pytest.raises(StoreUnreachable):
        judged(two_shards)


def test_each_shard_is_opened_once_for_a_micro_batch(
    two_shards: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    kept = FileStore.open

    def counted(self: FileStore, key: str, **more: Any) -> Any:
        opened.append(key)
        return kept(self, key, **more)

    monkeypatch.setattr(FileStore, "open", counted)
    assert len(judged(two_shards)) == 10
    assert len(opened) == len(set(opened)) == 10 + 2  # each original, and two shards


def test_an_empty_archive_has_nothing_to_judge(house: BuildHouse) -> None:
    with pytest.raises(NotInArchive, match="run `fwd2bot night line-1`"):
        chosen(house(), COLLECTION, (), 5)


def test_without_questions_nothing_is_read(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(1)
    installation = house()
    night(installation)
    monkeypatch.setattr(FakeCompressor, "fidelity_probes", ())
    with pytest.raises(UsageError, match="set probes in"):
        judged(installation)


def test_under_tiles_the_crop_that_did_worst_is_named(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(1)
    installation = house(
        **{
            f"collections.{COLLECTION}.view": {"tiles": [2, 1]},
            f"collections.{COLLECTION}.fidelity": {"probes": PROBES},
        }
    )
    night(installation)
    assert [(one.fidelity, one.agreeing) for one in judged(installation)] == [(1.0, 2)]
    kept = archive.many_tokens

    def damaged(house: Installation, wanted: Any) -> Any:
        tokens = kept(house, wanted).copy()
        tokens[:, 8:] += np.float32(0.4)  # of three crops of four tokens, the last
        return tokens

    monkeypatch.setattr(archive, "many_tokens", damaged)
    (one,) = judged(installation)
    assert one.crop == installation.spec(COLLECTION).crops[2]
    assert one.fidelity is not None
    assert 0.7 < one.fidelity < 1  # two of three crops are as they were

"""The index: it finds what reading everything finds, covers what it says, and never speaks of what is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import NotInArchive, StoreUnreachable, UsageError
from infra import search_index as infra_index
from infra.archive import Archive
from infra.finding import Query
from infra.installation import Installation
from infra.search_scope import Filters
from infra.settings import load_settings
from infra.tables import object_versions, shards, summaries
from tasks import search_index
from tasks.search_index import build, keep_index, state, wanted
from tests.houses import COLLECTION, lay_out, night, write_settings

COUNT = 300


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three hundred photos in six shards; the index has several cells of which one search looks into two."""
    folder = tmp_path_factory.mktemp("archive")
    lay_out(folder / "photos", COUNT)
    sections = {"night": {"engine": "direct", "batch_size": 50}, "search": {"cells": 2, "index_above": 100}}
    house = Installation(load_settings(write_settings(folder / "fwd2bot.toml", **sections)))
    night(house)
    yield Archive(house)
    house.ledger.close()


@pytest.fixture
def own(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Archive:
    """A house of the test's own, whose nights keep an index from the first image on."""
    photos(40)
    made = house(search={"index_above": 1})
    night(made)
    return Archive(made)


def asked(text: str, **more: Any) -> Query:
    return Query(text=text, rerank=0, **more)


def test_a_night_above_the_size_has_made_it(archive: Archive) -> None:
    found = state(archive.house, COLLECTION)
    assert (found.committed, found.indexed, found.why) == (COUNT, COUNT, "there")
    assert found.meta is not None
    assert found.meta.cells == 4
    assert found.as_json()["index"]["images"] == COUNT


def test_it_finds_nearly_what_reading_everything_finds_with_the_same_scores(archive: Archive) -> None:
    shares = []
    for number in range(20):
        exact = archive.find(asked(f"text {number}", exact=True))
        found = archive.find(asked(f"text {number}"))
        assert (exact.scanned, exact.indexed) == (COUNT, 0)
        assert (found.scanned, found.indexed) == (0, COUNT)
        scores = {hit.key: hit.score for hit in exact.hits}
        assert all(hit.score == pytest.approx(scores[hit.key]) for hit in found.hits if hit.key in scores)
        shares.append(len({hit.key for hit in found.hits} & set(scores)) / len(scores))
    assert np.mean(shares) > 0.5  # random vectors have no clusters, and half of the cells is looked into


def test_in_all_cells_it_finds_exactly_the_same(archive: Archive) -> None:
    settings = archive.house.settings
    everywhere = settings.model_copy(update={"search": settings.search.model_copy(update={"cells": 4})})
    with Archive.open(everywhere) as whole:
        for number in range(10):
            exact = [hit.key for hit in whole.find(asked(f"text {number}", exact=True)).hits]
            assert [hit.key for hit in whole.find(asked(f"text {number}")).hits] == exact


def test_a_filter_that_lets_little_through_reads_everything_instead(archive: Archive) -> None:
    found = archive.find(asked("a", filters=Filters(tags=("none has it",))))
    assert (found.hits, found.scanned) == ([], COUNT)


def test_new_shards_are_searched_before_they_are_indexed(
    own: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path / "photos", 5, start=500)
    with monkeypatch.context() as later:
        later.setattr("flows.nightly.wanted", lambda *_: False)
        night(own.house)
    found = own.find(asked("a", k=45))
    assert {hit.key for hit in found.hits} >= {f"{number:04}.jpg" for number in range(500, 505)}
    assert (found.scanned, found.indexed) == (5, 40)
    before = state(own.house, COLLECTION).meta
    assert "added to: 1 shards" in build(own.house, COLLECTION).why
    assert before is not None
    assert [info.key for info in own.house.archive.list("indexes/") if info.key == before.path] == []
    assert own.find(asked("a", k=45)).scanned == 0
    assert build(own.house, COLLECTION).why == "up to date"
    assert "made anew" in build(own.house, COLLECTION, anew=True).why


def test_an_erased_row_is_not_found_though_the_index_holds_it(own: Archive) -> None:
    first = own.find(asked("a", k=1)).hits[0]
    with own.house.ledger.write() as connection:
        mine = summaries.c.object_version_id == first.object_version_id
        connection.execute(summaries.delete().where(mine))
    found = own.find(asked("a", k=40))
    assert first.key not in {hit.key for hit in found.hits}
    assert len(found.hits) == 39


def test_a_rewritten_shard_is_read_and_the_index_is_made_anew(own: Archive) -> None:
    with own.house.ledger.write() as connection:
        connection.execute(shards.update().where(shards.c.id == 1).values(sha256="0" * 64))
    found = own.find(asked("a"))
    assert (found.scanned, found.indexed) == (20, 20)
    assert "made anew" in build(own.house, COLLECTION).why


@pytest.mark.parametrize("harm", ["damaged", "gone", "nonsense"])
def test_without_a_whole_index_everything_is_found_all_the_same(own: Archive, harm: str) -> None:
    meta = state(own.house, COLLECTION).meta
    assert meta is not None
    infra_index._loaded.clear()
    store = own.house.archive
    if harm == "damaged":
        store.replace(meta.path, b"\0" + store.read(meta.path)[1:])
    elif harm == "gone":
        store.delete_version(store.stat(meta.path))
    else:
        store.replace(meta.path.rpartition("/")[0] + "/latest.json", b"{}")
    assert own.find(asked("a")).scanned == 40
    assert build(own.house, COLLECTION).why.startswith("made anew")
    assert own.find(asked("a")).indexed == 40


def test_an_index_that_an_erasure_deleted_is_made_anew(own: Archive) -> None:
    store = own.house.archive
    for info in list(store.list("indexes/")):
        store.delete_version(info)
    assert own.find(asked("a")).scanned == 40
    assert state(own.house, COLLECTION).why.startswith("missing; the next night makes it")
    night(own.house)
    assert own.find(asked("a")).indexed == 40


def test_another_compressor_s_index_is_not_looked_into(own: Archive, tmp_path: Path) -> None:
    own.close()
    other = Archive.open(write_settings(tmp_path / "fwd2bot.toml", **{"compressor.view": {"k": 2}}))
    lay_out(tmp_path / "photos", 2, start=700)
    night(other.house)
    with other.house.ledger.read() as connection:
        assert connection.execute(object_versions.select()).all()
    assert other.find(asked("a", k=100)).indexed == 0
    other.close()


def test_without_the_library_nothing_is_kept_and_everything_found(
    own: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra_index, "available", lambda: False)
    assert not wanted(own.house, COLLECTION)
    assert own.find(asked("a")).scanned == 40
    with pytest.raises(UsageError, match=r"pip install 'fwd2bot\[search\]'"):
        build(own.house, COLLECTION)


def test_an_index_that_fails_is_no_fault_of_the_night(
    own: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise StoreUnreachable("the store is down")

    monkeypatch.setattr(search_index, "build", down)
    assert keep_index(own.house, COLLECTION) == "the store is down"
    assert "the search index of line-1 was not kept: the store is down" in caplog.text


def test_small_collections_and_empty_ones_have_none(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(2)
    made = house()
    assert not wanted(made, COLLECTION)
    with pytest.raises(NotInArchive):
        state(made, COLLECTION)
    night(made)
    assert not wanted(made, COLLECTION)
    assert state(made, COLLECTION).why == "not needed"
    assert FakeCompressor().spec.fingerprint == state(made, COLLECTION).compressor

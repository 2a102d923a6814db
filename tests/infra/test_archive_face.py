"""The Python face: open, search, ask, tokens; what is found is what the ledger still names, and the nearest of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import CompressorMismatch, IntegrityError, NotInArchive, UsageError
from infra.archive import Archive
from infra.erasure_tables import erasure_items, erasures
from infra.finding import Query
from infra.installation import Installation
from infra.retention_tables import object_facts, object_tags
from infra.search_scope import Filters
from infra.settings import load_settings
from infra.tables import object_versions, summaries
from tasks.search_index import build
from tests.houses import COLLECTION, lay_out, night, tiny_jpeg, write_settings
from tests.servers.postgresql import missing

FAKE = FakeCompressor()
COUNT = 25
POOLED = FAKE.compress([FAKE.prepare(tiny_jpeg(number)) for number in range(COUNT)]).pooled


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Twenty-five photos in five shards, on either database."""
    if request.param == "postgresql" and missing():
        pytest.skip(missing())
    folder = tmp_path_factory.mktemp("archive")
    lay_out(folder / "photos", COUNT)
    sections: dict[str, Any] = {"night": {"engine": "direct", "batch_size": 5, "smallest_batch": 5}}
    if request.param == "postgresql":
        sections["archive"] = {"ledger": request.getfixturevalue("postgres_url")()}
    house = Installation(load_settings(write_settings(folder / "fwd2bot.toml", **sections)))
    night(house)
    house.ledger.close()
    with Archive.open(folder) as made:
        yield made


def keys(order: Any) -> list[str]:
    return [f"{number:04}.jpg" for number in order]


def by_text(text: str) -> list[int]:
    return np.argsort(-(POOLED @ FAKE.embed_text(text)), kind="stable").tolist()


def test_a_text_finds_the_nearest_of_all_shards_with_their_cosines(archive: Archive) -> None:
    found = archive.find(Query(text="a cracked weld", k=7, rerank=0))
    assert [hit.key for hit in found.hits] == keys(by_text("a cracked weld")[:7])
    cosines = POOLED @ FAKE.embed_text("a cracked weld")
    np.testing.assert_allclose([hit.score for hit in found.hits], np.sort(cosines)[::-1][:7], rtol=1e-5)
    assert (found.scanned, found.indexed, found.left_out) == (COUNT, 0, {})
    first = found.hits[0]
    assert (first.collection, first.width, first.height, first.destroyed) == (COLLECTION, 24, 16, False)
    assert first.registered_at.tzinfo is not None
    assert first.as_json()["modified"] == first.modified.isoformat()


def test_more_results_than_images_are_all_images(archive: Archive) -> None:
    assert len(archive.search("anything", k=100)) == COUNT


def test_tokens_are_looked_at_again_where_a_text_asks_for_it(archive: Archive) -> None:
    """The fake's text is one vector repeated, so the second look is the best single token of each image."""
    text = "a bolt"
    tokens = FAKE.compress([FAKE.prepare(tiny_jpeg(n)) for n in range(COUNT)]).tokens
    units = tokens / np.linalg.norm(tokens, axis=2, keepdims=True)
    best = (units @ FAKE.embed_text(text)).max(axis=1)
    expected = np.argsort(-(POOLED @ FAKE.embed_text(text) + 2 * best), kind="stable")
    found = archive.find(Query(text=text, k=5, rerank=COUNT))
    assert [hit.key for hit in found.hits] == keys(expected[:5])
    assert found.reranked == COUNT


def test_what_is_like_an_image_is_not_that_image(archive: Archive) -> None:
    order = np.argsort(-(POOLED @ POOLED[3]), kind="stable").tolist()
    assert order[0] == 3
    assert [hit.key for hit in archive.search(image="0003.jpg", k=4)] == keys(order[1:5])


def test_examples_are_averaged_and_may_be_files_or_bytes(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "new.jpg").write_bytes(tiny_jpeg(3))
    mean = POOLED[3] + POOLED[8]
    expected = keys(np.argsort(-(POOLED @ mean), kind="stable")[:3])
    found = [hit.key for hit in archive.search(image=[tmp_path / "new.jpg", tiny_jpeg(8)], k=3)]
    assert set(found[:2]) == set(expected[:2]) == {"0003.jpg", "0008.jpg"}  # as near as each other
    assert found[2] == expected[2]


def test_an_example_that_is_nothing_says_so(archive: Archive) -> None:
    with pytest.raises(NotInArchive, match=r"nothing is known of 'no\.jpg'.*no file of that name either"):
        archive.search(image="no.jpg")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (Query(), "say what to look for"),
        (Query(text="a", like=("0001.jpg",)), "not both"),
        (Query(text=" "), "the text is empty"),
        (Query(text="x" * 1_000_000), r"has 1,000,000 characters: say it in 2,000 at most"),
        (Query(text="a", k=0), "0 results were asked for"),
        (Query(text="a", k=5000), "5,000 results were asked for"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(archive: Archive, query: Query, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        archive.find(query)


def test_a_photo_s_time_is_its_capture_where_that_is_known(archive: Archive) -> None:
    taken = datetime(2020, 5, 1, tzinfo=UTC)
    number = archive.locate("0007.jpg")[0].object_version_id
    with archive.house.ledger.write() as connection:
        connection.execute(object_facts.insert().values(object_version_id=number, captured_at=taken))
    assert [hit.key for hit in archive.search("a", until=taken + timedelta(days=1))] == ["0007.jpg"]
    assert [hit.captured_at for hit in archive.search("a", until=taken + timedelta(days=1))] == [taken]
    assert archive.search("a", until=taken) == []
    assert len(archive.search("a", since=datetime(2021, 1, 1, tzinfo=UTC), k=100)) == COUNT - 1


def test_filters_by_tag_and_run(archive: Archive) -> None:
    number = archive.locate("0002.jpg")[0].object_version_id
    with archive.house.ledger.write() as connection:
        connection.execute(object_tags.insert().values(object_version_id=number, tag="reject"))
    assert [hit.key for hit in archive.search("a", tags=["reject"])] == ["0002.jpg"]
    assert archive.search("a", tags=["reject", "other"]) == []
    assert archive.search("a", run="night-of-another-run") == []


def test_answers_are_those_of_the_stored_tokens(archive: Archive) -> None:
    tokens = FAKE.compress([FAKE.prepare(tiny_jpeg(n)) for n in (4, 9)]).tokens
    expected = [FAKE.answer(one, "what is it ?") for one in tokens]
    assert archive.ask(["0004.jpg", "0009.jpg"], "what is it ?") == expected
    number = archive.locate("0004.jpg")[0].object_version_id
    assert archive.ask(number, "what is it ?") == expected[:1]
    np.testing.assert_array_equal(archive.tokens(["0004.jpg", "0009.jpg"]), tokens)


def test_a_question_of_a_megabyte_is_refused_before_a_model_is_loaded(archive: Archive) -> None:
    with pytest.raises(UsageError, match="the question has 1,000,000 characters"):
        Archive(archive.house).ask("0001.jpg", "?" * 1_000_000)


def test_an_unknown_number_is_refused(archive: Archive) -> None:
    with pytest.raises(NotInArchive, match="object version 987654 has no tokens"):
        archive.tokens(987654)


def test_a_dataset_is_read_by_a_loader_in_any_order(archive: Archive) -> None:
    from torch.utils.data import DataLoader

    dataset = pickle.loads(pickle.dumps(archive.dataset(COLLECTION)))
    assert len(dataset) == COUNT
    loader = DataLoader(dataset, batch_size=10, shuffle=True)
    seen = {int(number): row for batch in loader for row, number in zip(*batch, strict=True)}
    for number, row in seen.items():
        np.testing.assert_array_equal(row.numpy(), archive.tokens(number)[0])
    assert len(seen) == COUNT


def test_the_index_asks_the_ledger_on_either_database(archive: Archive) -> None:
    made = build(archive.house, COLLECTION)
    assert made.meta is not None
    exact = archive.find(Query(text="a crack", rerank=0, exact=True, k=5))
    found = archive.find(Query(text="a crack", rerank=0, k=5))
    assert (found.scanned, found.indexed) == (0, COUNT)
    assert [hit.key for hit in found.hits] == [hit.key for hit in exact.hits]
    archive.house.archive.delete_version(archive.house.archive.stat(made.meta.path))


def test_what_was_erased_says_so(archive: Archive) -> None:
    at = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
    with archive.house.ledger.write() as connection:
        (number,) = connection.execute(
            object_versions.insert()
            .values(
                collection_id=1,
                key="erased/1",
                identity="erased",
                size=1,
                modified=at,
                salt=b"",
                first_seen_at=at,
            )
            .returning(object_versions.c.id)
        ).scalars()
        one = {"sha256": "0" * 64, "state": "done", "reason": "r", "author_ref": "a", "made_at": at}
        connection.execute(erasures.insert().values(id="e-1", **one))
        item = {"erasure_id": "e-1", "object_version_id": number, "state": "erased"}
        connection.execute(
            erasure_items.insert().values(**item, intent_seq=1, confirmed_seq=2, changed_at=at)
        )
    says = r"was erased on 2026-03-04 05:06 UTC; `fwd2bot erasure certificate e-1` proves it"
    with pytest.raises(NotInArchive, match=says):
        archive.ask(number, "what is it ?")


# --- what must not be found: a house of each test's own


@pytest.fixture
def own(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Archive:
    photos(6)
    made = house()
    night(made)
    return Archive(made)


def found_keys(archive: Archive) -> set[str]:
    return {hit.key for hit in archive.search("a", k=100)}


def test_a_row_that_was_erased_is_not_found_though_the_shard_holds_it(own: Archive) -> None:
    with own.house.ledger.write() as connection:
        erased = sa.select(object_versions.c.id).where(object_versions.c.key == "0002.jpg")
        connection.execute(summaries.delete().where(summaries.c.object_version_id.in_(erased)))
    assert found_keys(own) == set(keys([0, 1, 3, 4, 5]))


def test_a_superseded_version_is_not_found(own: Archive) -> None:
    with own.house.ledger.write() as connection:
        gone = object_versions.c.key == "0004.jpg"
        connection.execute(object_versions.update().where(gone).values(superseded_at=datetime.now(UTC)))
    assert "0004.jpg" not in found_keys(own)


def test_a_destroyed_original_is_found_by_its_tokens_unless_originals_are_asked_for(own: Archive) -> None:
    with own.house.ledger.write() as connection:
        gone = object_versions.c.key == "0004.jpg"
        connection.execute(object_versions.update().where(gone).values(destroyed_seq=1))
    (hit,) = [hit for hit in own.search("a", k=100) if hit.destroyed]
    assert hit.key == "0004.jpg"
    only = own.find(Query(text="a", k=100, filters=Filters(original=True)))
    assert {hit.key for hit in only.hits} == set(keys([0, 1, 2, 3, 5]))


def test_rows_that_were_exchanged_in_the_ledger_are_noticed(own: Archive) -> None:
    with own.house.ledger.write() as connection:
        connection.execute(summaries.update().values(row=5 - summaries.c.row))
    with pytest.raises(IntegrityError, match="the ledger and the shard disagree"):
        own.search("a")


def test_tokens_of_another_compressor_are_refused_and_told_of(own: Archive, tmp_path: Path) -> None:
    own.close()
    file = write_settings(tmp_path / "fwd2bot.toml", **{"compressor.view": {"k": 2}})
    other = Archive.open(file)
    with pytest.raises(CompressorMismatch, match=r"line-1 holds 6 images of fake [0-9a-f]{12}; the settings"):
        other.search("a")
    with pytest.raises(NotInArchive, match=r"There are some of fake [0-9a-f]{12}, which [0-9a-f]{12} cannot"):
        other.ask("0001.jpg", "what is it ?")
    lay_out(tmp_path / "photos", 1, start=50)
    night(other.house)
    lay_out(tmp_path / "photos", 1, start=51)
    found = other.find(Query(text="a", k=100))
    assert len(found.hits) == 7
    assert sum(found.left_out.values()) == 6
    other.close()


def test_collections_of_several_views_are_searched_one_at_a_time(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(2)
    made = Archive(
        house(**{"collections.line-2": {"originals": "photos"}, "collections.line-2.view": {"k": 2}})
    )
    with pytest.raises(UsageError, match="line-1, line-2 are of several compressors or views"):
        made.search("a")
    with pytest.raises(NotInArchive, match="nothing is committed in line-2 yet"):
        made.search("a", collection="line-2")

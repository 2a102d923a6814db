"""What a listing teaches the ledger, and what it leaves alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.discover
from infra.installation import Installation
from infra.objects.memory import MemoryStore
from infra.tables import object_versions
from tasks import runs
from tasks.discover import Discovery, discover
from tests.houses import COLLECTION
from tests.tasks.steps import count, rows

BuildHouse = Callable[..., Installation]
_fresh = itertools.count()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore.named(f"discover-{next(_fresh)}")


@pytest.fixture
def installation(house: BuildHouse, store: MemoryStore) -> Installation:
    return house(**{f"collections.{COLLECTION}": {"originals": store.uri}})


@pytest.fixture
def collection_id(installation: Installation) -> int:
    return runs.begin(installation, COLLECTION).collection_id


def fill(store: MemoryStore, *keys: str) -> None:
    for key in keys:
        store.replace(key, f"content of {key}".encode())


def known(house: Installation) -> dict[tuple[str, str], bool]:
    """(key, identity) -> current"""
    return {(row.key, row.identity): row.superseded_at is None for row in rows(house, object_versions)}


def test_everything_is_new_once(installation: Installation, store: MemoryStore, collection_id: int) -> None:
    fill(store, "a.jpg", "b.jpg")
    size = sum(entry.size for entry in store.list())
    found = discover(installation.ledger, store, collection_id)
    assert found == Discovery(listed=2, listed_bytes=size, new=2, new_bytes=size)
    assert discover(installation.ledger, store, collection_id) == Discovery(listed=2, listed_bytes=size)
    assert known(installation) == {(entry.key, entry.identity): True for entry in store.list()}


def test_what_the_listing_said_is_written_down(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    fill(store, "a.jpg", "b.jpg")
    discover(installation.ledger, store, collection_id)
    found = {row.key: row for row in rows(installation, object_versions)}
    for entry in store.list():
        row = found[entry.key]
        assert (row.identity, row.size, row.modified) == (entry.identity, entry.size, entry.modified)
        assert row.content_sha256 is None
    assert len({row.salt for row in found.values()}) == 2


def test_an_overwritten_key_is_a_new_version_and_the_old_one_stays_known(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    fill(store, "a.jpg", "b.jpg")
    discover(installation.ledger, store, collection_id)
    old = store.stat("a.jpg")
    new = store.replace("a.jpg", b"another picture")
    found = discover(installation.ledger, store, collection_id)
    assert (found.new, found.new_bytes, found.superseded) == (1, new.size, 1)
    assert known(installation) == {
        ("a.jpg", old.identity): False,
        ("a.jpg", new.identity): True,
        ("b.jpg", store.stat("b.jpg").identity): True,
    }
    (before,) = rows(
        installation, sa.select(object_versions).where(object_versions.c.identity == old.identity)
    )
    assert (before.size, before.modified) == (old.size, old.modified)


def test_content_that_was_put_back_is_the_version_that_it_was(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    fill(store, "a.jpg")
    discover(installation.ledger, store, collection_id)
    (first,) = rows(installation, object_versions)
    store.replace("a.jpg", b"another picture")
    discover(installation.ledger, store, collection_id)
    fill(store, "a.jpg")
    found = discover(installation.ledger, store, collection_id)
    assert (found.new, found.superseded) == (0, 1)
    current = sa.select(object_versions.c.id).where(object_versions.c.superseded_at.is_(None))
    assert [row.id for row in rows(installation, current)] == [first.id]
    assert discover(installation.ledger, store, collection_id).superseded == 0


def test_keys_of_other_collections_do_not_matter(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    from infra.tables import collections

    with installation.ledger.write() as connection:
        at = sa.literal_column("'2026-11-24 00:00:00.000000'")
        connection.execute(
            collections.insert().values(id=99, name="other", originals="", prefix="", registered_at=at)
        )
    fill(store, "a.jpg")
    assert discover(installation.ledger, store, 99).new == 1
    assert discover(installation.ledger, store, collection_id).new == 1
    store.replace("a.jpg", b"another picture")
    assert discover(installation.ledger, store, 99).superseded == 1
    assert count(installation, object_versions, object_versions.c.superseded_at.is_(None)) == 2


def test_a_dry_listing_counts_and_writes_nothing(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    fill(store, "a.jpg", "b.jpg")
    for collection in (None, collection_id):
        found = discover(installation.ledger, store, collection, dry=True)
        assert (found.listed, found.new) == (2, 2)
    assert rows(installation, object_versions) == []
    discover(installation.ledger, store, collection_id)
    store.replace("a.jpg", b"another picture")
    before = known(installation)
    found = discover(installation.ledger, store, collection_id, dry=True)
    assert (found.new, found.superseded) == (1, 1)
    assert known(installation) == before


def test_a_listing_without_news_opens_no_write_transaction(
    installation: Installation, store: MemoryStore, collection_id: int, tmp_path: Path
) -> None:
    fill(store, *(f"{number}.jpg" for number in range(10)))
    discover(installation.ledger, store, collection_id)
    with installation.ledger.write():  # whoever wants to write now must wait, and would say LedgerLocked
        found = discover(installation.ledger, store, collection_id)
    assert found == Discovery(listed=10, listed_bytes=found.listed_bytes)


@pytest.mark.parametrize("entries", [4, 5, 6, 11])
def test_long_listings_are_taken_in_by_the_chunk(
    installation: Installation,
    store: MemoryStore,
    collection_id: int,
    monkeypatch: pytest.MonkeyPatch,
    entries: int,
) -> None:
    monkeypatch.setattr(tasks.discover, "CHUNK", 5)
    fill(store, *(f"{number:03}.jpg" for number in range(entries)))
    said: list[int] = []
    found = discover(
        installation.ledger, store, collection_id, progress=lambda so_far: said.append(so_far.new)
    )
    assert found.new == entries == count(installation, object_versions)
    assert said == [*range(5, entries, 5), entries]
    assert discover(installation.ledger, store, collection_id).new == 0


WEIRD = [
    "日本語/検査 01.jpg",
    "with space.jpg",
    "100%.jpg",
    "100%25.jpg",
    "line\nbreak.jpg",
    "quote'\".jpg",
    "é.jpg",
    "e\u0301.jpg",  # the same letter, composed of two characters
    "A.jpg",
    "a.jpg",
    "emoji 📷.jpg",
    "\u202egpj.exe",
    "x" * 255,
]


def test_keys_are_any_text_and_none_is_taken_for_another(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    fill(store, *WEIRD)
    assert discover(installation.ledger, store, collection_id).new == len(WEIRD)
    assert {row.key for row in rows(installation, object_versions)} == set(WEIRD)
    assert discover(installation.ledger, store, collection_id).new == 0


def test_only_keys_below_the_prefix_are_looked_at(
    installation: Installation, store: MemoryStore, collection_id: int
) -> None:
    fill(store, "2026/a.jpg", "2025/b.jpg")
    assert discover(installation.ledger, store, collection_id, "2026/").listed == 1
    assert [row.key for row in rows(installation, object_versions)] == ["2026/a.jpg"]


def test_a_listing_that_breaks_off_keeps_what_it_has_seen(
    installation: Installation, store: MemoryStore, collection_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fwd2bot_core.errors import StoreUnreachable

    monkeypatch.setattr(tasks.discover, "CHUNK", 3)
    fill(store, *(f"{number}.jpg" for number in range(7)))
    whole = MemoryStore.list

    def broken(self: MemoryStore, prefix: str = "") -> Any:
        yield from itertools.islice(whole(self, prefix), 5)
        raise StoreUnreachable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "list", broken)
        with pytest.raises(StoreUnreachable):
            discover(installation.ledger, store, collection_id)
    assert count(installation, object_versions) == 3
    assert discover(installation.ledger, store, collection_id).new == 4

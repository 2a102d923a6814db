"""What a listing teaches the ledger, and what it leaves alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

import tasks.discover
from fwd2bot_core.errors import LeaseLost, StoreUnreachable
from infra.installation import Installation
from infra.objects.memory import MemoryStore
from infra.tables import object_versions
from tasks import runs
from tasks.discover import Discovery, discover
from tasks.runs import Run
from tests.houses import COLLECTION
from tests.tasks.steps import count, events, everything, lose_the_lease, query_plan, rows, statements

BuildHouse = Callable[..., Installation]
_fresh = itertools.count()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore.named(f"discover-{next(_fresh)}")


@pytest.fixture
def installation(house: BuildHouse, store: MemoryStore) -> Installation:
    return house(**{f"collections.{COLLECTION}": {"originals": store.uri}})


@pytest.fixture
def run(installation: Installation) -> Run:
    return runs.begin(installation, COLLECTION)


def look(house: Installation, store: MemoryStore, run: Run, prefix: str = "", **options: Any) -> Discovery:
    return discover(house.ledger, store, run.collection_id, prefix, run=run, **options)


def fill(store: MemoryStore, *keys: str) -> None:
    for key in keys:
        store.replace(key, f"content of {key}".encode())


def known(house: Installation) -> dict[tuple[str, str], bool]:
    """(key, identity) -> current"""
    return {(row.key, row.identity): row.superseded_at is None for row in rows(house, object_versions)}


def test_everything_is_new_once(installation: Installation, store: MemoryStore, run: Run) -> None:
    fill(store, "a.jpg", "b.jpg")
    size = sum(entry.size for entry in store.list())
    found = look(installation, store, run)
    assert found == Discovery(listed=2, listed_bytes=size, new=2, new_bytes=size)
    assert look(installation, store, run) == Discovery(listed=2, listed_bytes=size)
    assert known(installation) == {(entry.key, entry.identity): True for entry in store.list()}


def test_what_the_listing_said_is_written_down(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, "a.jpg", "b.jpg")
    look(installation, store, run)
    found = {row.key: row for row in rows(installation, object_versions)}
    for entry in store.list():
        row = found[entry.key]
        assert (row.identity, row.size, row.modified) == (entry.identity, entry.size, entry.modified)
        assert row.content_sha256 is None
    assert len({row.salt for row in found.values()}) == 2


def test_an_overwritten_key_is_a_new_version_and_the_old_one_stays_known(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, "a.jpg", "b.jpg")
    look(installation, store, run)
    old = store.stat("a.jpg")
    new = store.replace("a.jpg", b"another picture")
    found = look(installation, store, run)
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
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, "a.jpg")
    look(installation, store, run)
    (first,) = rows(installation, object_versions)
    store.replace("a.jpg", b"another picture")
    look(installation, store, run)
    fill(store, "a.jpg")
    found = look(installation, store, run)
    assert (found.new, found.superseded) == (0, 1)
    current = sa.select(object_versions.c.id).where(object_versions.c.superseded_at.is_(None))
    assert [row.id for row in rows(installation, current)] == [first.id]
    assert look(installation, store, run).superseded == 0


def test_keys_of_other_collections_do_not_matter(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    from infra.tables import collections

    with installation.ledger.write() as connection:
        at = sa.literal_column("'2026-11-24 00:00:00.000000'")
        connection.execute(
            collections.insert().values(id=99, name="other", originals="", prefix="", registered_at=at)
        )
    other = replace(run, collection_id=99)
    fill(store, "a.jpg")
    assert look(installation, store, other).new == 1
    assert look(installation, store, run).new == 1
    store.replace("a.jpg", b"another picture")
    assert look(installation, store, other).superseded == 1
    assert count(installation, object_versions, object_versions.c.superseded_at.is_(None)) == 2


def test_without_a_run_it_counts_and_writes_nothing(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, "a.jpg", "b.jpg")
    before = everything(installation)
    for collection in (None, run.collection_id):
        found = discover(installation.ledger, store, collection)
        assert (found.listed, found.new) == (2, 2)
    assert everything(installation) == before
    look(installation, store, run)
    store.replace("a.jpg", b"another picture")
    before = everything(installation)
    with installation.ledger.write():  # whoever wants to write now must wait, and would say LedgerLocked
        found = discover(installation.ledger, store, run.collection_id)
    assert (found.new, found.superseded) == (1, 1)
    assert everything(installation) == before


def test_a_listing_without_news_writes_one_event_and_nothing_else(
    installation: Installation, store: MemoryStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.discover, "CHUNK", 3)
    fill(store, *(f"{number}.jpg" for number in range(10)))
    look(installation, store, run)
    before = everything(installation)
    writes: list[str] = []
    sa.event.listen(installation.ledger.engine, "before_cursor_execute", statements(writes))
    found = look(installation, store, run)
    assert found == Discovery(listed=10, listed_bytes=found.listed_bytes)
    assert writes.count("BEGIN IMMEDIATE") == 1
    after = everything(installation)
    assert {name for name in after if after[name] != before[name]} == {"audit_events", "audit_head"}
    assert len(after["audit_events"]) == len(before["audit_events"]) + 1


@pytest.mark.parametrize("entries", [4, 5, 6, 11])
def test_long_listings_are_taken_in_by_the_chunk(
    installation: Installation,
    store: MemoryStore,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    entries: int,
) -> None:
    monkeypatch.setattr(tasks.discover, "CHUNK", 5)
    fill(store, *(f"{number:03}.jpg" for number in range(entries)))
    said: list[int] = []
    found = look(installation, store, run, progress=lambda so_far: said.append(so_far.new))
    assert found.new == entries == count(installation, object_versions)
    assert said == [*range(5, entries, 5), entries]
    assert look(installation, store, run).new == 0


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
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, *WEIRD)
    assert look(installation, store, run).new == len(WEIRD)
    assert {row.key for row in rows(installation, object_versions)} == set(WEIRD)
    assert look(installation, store, run).new == 0


def test_only_keys_below_the_prefix_are_looked_at(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, "2026/a.jpg", "2025/b.jpg")
    assert look(installation, store, run, "2026/").listed == 1
    assert [row.key for row in rows(installation, object_versions)] == ["2026/a.jpg"]


def test_a_listing_that_breaks_off_keeps_what_it_has_seen(
    installation: Installation, store: MemoryStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.discover, "CHUNK", 3)
    fill(store, *(f"{number}.jpg" for number in range(7)))
    whole = MemoryStore.list

    def broken(self: MemoryStore, prefix: str = "") -> Any:
        yield from itertools.islice(whole(self, prefix), 5)
        raise StoreUnreachable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "list", broken)
        with pytest.raises(StoreUnreachable):
            look(installation, store, run)
    assert count(installation, object_versions) == 3
    assert events(installation, "discovery.ended") == []
    assert look(installation, store, run).new == 4


def test_each_listing_ends_with_an_event_that_says_what_it_showed(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    fill(store, "a.jpg", "b.jpg")
    size = sum(entry.size for entry in store.list())
    look(installation, store, run)
    new = store.replace("a.jpg", b"another picture")
    after = sum(entry.size for entry in store.list())
    look(installation, store, run)
    shown = [event["after"] for event in events(installation, "discovery.ended")]
    assert shown == [
        {"listed": 2, "listed_bytes": size, "new": 2, "new_bytes": size, "superseded": 0},
        {"listed": 2, "listed_bytes": after, "new": 1, "new_bytes": new.size, "superseded": 1},
    ]


@pytest.mark.parametrize("prefix", ["", "2026/"])
def test_nothing_listed_where_images_were_known_is_an_outage(
    installation: Installation, store: MemoryStore, run: Run, prefix: str
) -> None:
    fill(store, "2026/a.jpg", "2026/b.jpg")
    look(installation, store, run, prefix)
    before = everything(installation)
    for entry in list(store.list()):
        store.delete_version(entry)
    for writer in (run, None):
        with pytest.raises(StoreUnreachable, match="Is it mounted, and is the prefix right"):
            discover(installation.ledger, store, run.collection_id, prefix, run=writer)
    assert everything(installation) == before


def test_nothing_listed_of_a_new_collection_is_no_outage(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    assert discover(installation.ledger, store, None) == Discovery()
    assert look(installation, store, run) == Discovery()


def test_a_run_that_lost_its_lease_writes_nothing_down(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    """A driver that slept through a takeover comes back with a listing that is older than the ledger."""
    fill(store, "a.jpg", "b.jpg")
    look(installation, store, run)
    lose_the_lease(installation)
    before = everything(installation)
    for change in ("none", "new", "superseded"):
        if change == "new":
            fill(store, "c.jpg")
        elif change == "superseded":
            store.replace("a.jpg", b"another picture")
        with pytest.raises(LeaseLost):
            look(installation, store, run)
        assert everything(installation) == before


def test_the_ledger_is_asked_by_key_and_never_scanned(
    installation: Installation, store: MemoryStore, run: Run
) -> None:
    """A night of a thousand images in an archive of millions must not read the millions."""
    fill(store, "a.jpg")
    seen: list[str] = []
    with installation.ledger.read() as connection:
        tasks.discover.stage(connection, list(store.list()))
        sa.event.listen(installation.ledger.engine, "before_cursor_execute", statements(seen))
        tasks.discover._compare(connection, run.collection_id)
        (query,) = seen
        steps = query_plan(connection, query, (run.collection_id,))
    assert [step for step in steps if "object_versions" in step and "SCAN" in step] == []
    (lookup,) = (step for step in steps if "object_versions" in step)
    assert "USING INDEX" in lookup
    assert "(collection_id=? AND key=?)" in lookup

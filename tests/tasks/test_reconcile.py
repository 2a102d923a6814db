"""Store against ledger: each kind of difference is found, asked for singly, and nothing is touched."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import tasks.reconcile
from fwd2bot_core.errors import StoreUnreachable
from infra.objects import ObjectInfo
from infra.objects.memory import MemoryStore
from tasks.reconcile import Kind, Reconciled, reconcile, reconcile_sample
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.disposals import Template, World, make_world
from tests.tasks.steps import everything


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        yield Template(tmp_path_factory.mktemp("reconcile"), patch, photos=5)


@pytest.fixture
def world(template: Template) -> World:
    return template.world()


def found(world: World, *, whole: bool = True) -> list[tuple[str, str]]:
    done = reconcile(world.house, COLLECTION) if whole else reconcile_sample(world.house, COLLECTION, 100)
    assert sum(done.counts.values()) == len(done.findings)
    return sorted((str(one.kind), one.key) for one in done.findings)


def lose(world: World, number: int) -> None:
    row = world.row(world.numbers[number])
    info = next(i for i in world.store.versions_of(row.key) if i.identity == row.identity)
    MemoryStore.delete_version(world.store, info)


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_is_found_where_all_is_well(world: World, whole: bool) -> None:
    before = everything(world.house)
    assert found(world, whole=whole) == []
    assert everything(world.house) == before


def test_on_each_database(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "w", ledger_url, monkeypatch, photos=3)
    lose(world, 0)
    world.store.create("new.jpg", tiny_jpeg(50))
    done = reconcile(world.house, COLLECTION)
    assert (done.listed, done.held_against) == (3, 3)
    assert found(world) == [("missing", "0.jpg"), ("orphan", "new.jpg")]
    world.house.ledger.close()


@pytest.mark.parametrize("whole", [True, False])
def test_missing_and_zombie(world: World, whole: bool) -> None:
    world.may_go = set(world.numbers[:1])
    world.list(world.numbers[:1])
    assert world.run().destroyed == 1
    assert found(world, whole=whole) == []
    held = dict(world.store._keys)
    row = world.row(world.numbers[0])
    info = ObjectInfo(row.key, row.size, "e", row.identity.removeprefix("v:"), row.modified)
    world.store._keys[row.key] = [
        type(held["1.jpg"][0])(info, tiny_jpeg(0))
    ]  # as a replica that gave it back
    lose(world, 1)
    assert found(world, whole=whole) == [("missing", "1.jpg"), ("zombie", "0.jpg")]
    assert world.present(world.numbers[0])  # told, and left there


def test_an_overwritten_version_is_expected_and_a_hidden_one_is_not_missing(world: World) -> None:
    world.store.replace("0.jpg", tiny_jpeg(100))
    night(world.house)
    world.store.hide("1.jpg")
    assert found(world) == []
    lose(world, 0)
    assert found(world) == [("missing", "0.jpg")]


def test_a_destroyed_version_that_another_one_hides_is_a_zombie(world: World) -> None:
    world.list(world.numbers[:1])
    world.may_go = set(world.numbers[:1])
    world.run()
    row = world.row(world.numbers[0])
    newer = world.store.create("0.jpg", tiny_jpeg(100))
    kept = world.store._keys["0.jpg"]
    info = ObjectInfo(row.key, row.size, "e", row.identity.removeprefix("v:"), row.modified)
    world.store._keys["0.jpg"] = [type(kept[0])(info, tiny_jpeg(0)), *kept]
    assert world.store.stat("0.jpg").identity == newer.identity  # a listing does not show it
    assert found(world) == [("orphan", "0.jpg"), ("zombie", "0.jpg")]


@pytest.mark.parametrize("whole", [True, False])
def test_a_store_that_does_not_say_is_never_taken_for_a_loss(world: World, whole: bool) -> None:
    lose(world, 0)
    asked = world.store.versions_of

    def versions_of(key: str) -> Sequence[ObjectInfo]:
        if key == "0.jpg":
            raise StoreUnreachable("no answer")
        return asked(key)

    world.store.versions_of = versions_of
    assert found(world, whole=whole) == [("unclear", "0.jpg")]


def test_a_listing_that_lags_behind_accuses_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [info for info in world.store.list() if info.key != "0.jpg"]
    monkeypatch.setattr(world.store, "list", lambda prefix="": iter([*entries, entries[0]]), raising=False)
    done = reconcile(world.house, COLLECTION)
    assert (done.findings, done.listed, done.held_against) == ([], 5, 5)


def test_what_a_list_destroys_just_now_is_not_missing(world: World) -> None:
    world.list(world.numbers[:1])
    world.may_go = set(world.numbers[:1])
    world.store.answers = {0: "deaf"}
    assert world.run().unknown == 1
    assert found(world) == [("unclear", "0.jpg")]


def test_an_empty_listing_is_refused(world: World) -> None:
    world.store._keys.clear()
    with pytest.raises(StoreUnreachable, match="Is it mounted"):
        reconcile(world.house, COLLECTION)


def test_all_are_counted_and_some_are_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.reconcile, "NAMED", 2)
    monkeypatch.setattr(tasks.reconcile, "CHUNK", 2)
    for number in range(4):
        lose(world, number)
        world.store.create(f"new-{number}.jpg", tiny_jpeg(50 + number))
    done = reconcile(world.house, COLLECTION)
    assert (done.counts[Kind.MISSING], done.counts[Kind.ORPHAN], len(done.findings)) == (4, 4, 4)
    assert done.critical
    assert not Reconciled(COLLECTION, True).critical


def test_a_sample_is_bounded(world: World) -> None:
    done = reconcile_sample(world.house, COLLECTION, 3, draw=random.Random(1))
    assert 0 < done.held_against <= 3
    assert reconcile_sample(world.house, COLLECTION, 0).held_against == 0

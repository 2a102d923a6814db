"""Shards written again: the others' rows keep their tokens, old shards go, manifests and indexes follow."""

from __future__ import annotations

import json

import pytest

from fwd2bot_core.errors import BlockedByPolicy
from infra.archive import tokens
from infra.erasure_tables import shard_rewrites
from infra.lookup import locate
from infra.objects.memory import MemoryStore
from infra.search_index import folder_of
from infra.tables import shards
from tasks import erase_tokens
from tasks.erasure import ItemState, units_of
from tasks.publish import pointer_of
from tests.houses import COLLECTION, tiny_jpeg
from tests.tasks.disposals import World
from tests.tasks.erasures import approved
from tests.tasks.steps import events, rows


def rewritten(world: World, *images: str) -> str:
    made = approved(world, *images)
    with world.house.ledger.read() as connection:
        units = units_of(connection, made.id, ItemState.PLANNED)
    erase_tokens.rewrite(world.house, made.id, "operator", units, lambda connection: None)
    return made.id


def test_the_others_move_up_and_keep_their_tokens(place: World) -> None:
    before = tokens(place.house, locate(place.house, "2.jpg")).tobytes()
    old = locate(place.house, "2.jpg")
    rewritten(place, "0.jpg")
    now = locate(place.house, "2.jpg")
    assert (now.row, tokens(place.house, now).tobytes()) == (old.row - 1, before)
    assert now.shard != old.shard
    (event,) = events(place.house, "shard.rewritten")
    assert event["subject"]["removed"] == [[0, place.numbers[0]]]
    assert (event["before"]["path"], event["after"]["path"]) == (old.shard, now.shard)
    assert (event["before"]["rows"], event["after"]["rows"]) == (3, 2)


def test_a_guard_stops_before_the_swap(place: World) -> None:
    made = approved(place, "0.jpg")
    with place.house.ledger.read() as connection:
        units = units_of(connection, made.id, ItemState.PLANNED)

    def guard(connection: object) -> None:
        raise BlockedByPolicy("no")

    old = locate(place.house, "0.jpg")
    with pytest.raises(BlockedByPolicy):
        erase_tokens.rewrite(place.house, made.id, "operator", units, guard)
    assert locate(place.house, "0.jpg") == old
    assert rows(place.house, shard_rewrites) == []


def test_old_shards_indexes_and_manifests_go_and_the_new_manifest_names_what_is_there(place: World) -> None:
    archive, fingerprint = place.house.archive, place.house.spec(COLLECTION).fingerprint
    folder = folder_of(COLLECTION, fingerprint)
    archive.create(f"{folder}/latest.json", b"{}")
    archive.create(f"{folder}/1.faiss", b"vectors")
    before = json.loads(archive.read(pointer_of(COLLECTION, fingerprint)))
    made = rewritten(place, "0.jpg")
    for _ in range(2):  # harmless when it is done already
        erase_tokens.tidy(place.house, made)
    assert list(archive.list(folder)) == []
    after = json.loads(archive.read(pointer_of(COLLECTION, fingerprint)))
    assert after["generation"] > before["generation"]
    there = {info.key for info in archive.list("tokens/")}
    assert (
        {one["path"] for one in after["shards"]} == there == {row.path for row in rows(place.house, shards)}
    )
    for info in archive.list("manifests/"):
        assert json.loads(archive.read(info.key))["generation"] == after["generation"]


def test_every_version_of_a_key_goes() -> None:
    store = MemoryStore(versions=True)
    store.create("a", tiny_jpeg(1))
    store.replace("a", tiny_jpeg(2))
    store.hide("a")
    erase_tokens.delete_all(store, "a")
    assert erase_tokens.held(store, "a") == []
    erase_tokens.delete_all(store, "a")

"""From the dry run to nothing left: what goes, what stays, what forbids it, and every crash in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import BlockedByPolicy, UsageError
from fwd2bot_core.retention.erasure import ItemState, State
from infra.archive import tokens
from infra.crashpoints import ERASE_STEPS
from infra.erasure_tables import erasure_items, erasures
from infra.lookup import locate
from infra.retention_tables import object_facts
from infra.tables import audit_states, audit_values, contents, object_versions, shards, summaries
from tasks.audit_verify import verify_log
from tasks.erase import erase
from tasks.states import take_state
from tests.houses import night, tiny_jpeg
from tests.tasks.disposals import World, make_world
from tests.tasks.erasures import approved, carried_out, crash_at, furnish, sound
from tests.tasks.steps import count, events, rows
from tests.tasks.stormy import Crash


def everything(world: World) -> bytes:
    """All bytes of the archive and the originals, with their keys, and all texts of the ledger."""
    found = [
        f"{path}".encode() + path.read_bytes()
        for path in (world.root / "archive").rglob("*")
        if path.is_file()
    ]
    found += [key.encode() + b"".join(one.data for one in held) for key, held in world.store._keys.items()]
    for table in object_versions.metadata.tables.values():
        found += [repr(tuple(row)).encode() for row in rows(world.house, table)]
    return b"\n".join(found)


def traces(world: World, sha256: str) -> bool:
    whole = everything(world)
    return any(
        word in whole
        for word in (b"1.jpg", b"1-again.jpg", sha256.encode(), bytes.fromhex(sha256), tiny_jpeg(1))
    )


def test_nothing_is_left_and_the_others_are_as_they_were(place: World) -> None:
    sha256 = locate(place.house, "1.jpg").sha256
    others = {key: tokens(place.house, locate(place.house, key)).tobytes() for key in ("0.jpg", "2.jpg")}
    take_state(place.house)
    made = approved(place, "1.jpg")
    assert made.objects == 2  # the copy, too
    assert traces(place, sha256)
    done = carried_out(place, made.id)
    assert (done.done, done.left, done.shards) == (True, [], 2)
    assert not traces(place, sha256)
    assert {key: tokens(place.house, locate(place.house, key)).tobytes() for key in others} == others
    assert (
        count(place.house, summaries),
        count(place.house, contents),
        count(place.house, object_facts),
    ) == (2, 2, 2)
    assert sound(place)
    assert verify_log(place.house).acceptable
    assert [len(row.secret) > 0 for row in rows(place.house, audit_states)][-1]
    assert night(place.house).compressed == 0  # and a night finds nothing of it again


def test_each_photo_has_its_intent_outside_before_anything_goes(place: World) -> None:
    made = approved(place, "1.jpg")
    seen: list[tuple[int, int]] = []

    def look(info: Any) -> None:
        outside = max(int(path.name) for path in (place.root / "vault" / "checkpoints").iterdir())
        seen.extend((event["seq"], outside) for event in events(place.house, "erasure.intended"))

    place.store.before = look
    carried_out(place, made.id)
    assert len(seen) == 4
    assert all(seq < outside for seq, outside in seen)
    kinds = [
        event["type"] for event in events(place.house) if event["type"].startswith(("erasure", "shard.re"))
    ]
    assert kinds == [
        "erasure.planned", "erasure.approved", *["erasure.intended"] * 2, *["shard.rewritten"] * 2,
        *["erasure.confirmed"] * 2, "erasure.done",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ERASE_STEPS)
def test_a_crash_at_any_step_is_finished_by_the_next_run(
    place: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    sha256, made = locate(place.house, "1.jpg").sha256, approved(place, "1.jpg")
    old_list(place)
    crash_at(monkeypatch, step)
    with pytest.raises(Crash):
        carried_out(place, made.id)
    night(place.house)
    assert carried_out(place, made.id).done
    assert not traces(place, sha256)
    assert sound(place)
    assert len(events(place.house, "erasure.done")) == 1
    assert {row.state for row in rows(place.house, erasure_items)} == {ItemState.ERASED}


def old_list(world: World) -> None:
    """One that ended, and whose manifest names the photo."""
    number = next(row.id for row in rows(world.house, object_versions) if row.key == "1.jpg")
    world.list([number], signed=0, state="expired")


def test_a_dry_run_writes_nothing_and_its_token_is_of_what_it_showed(place: World) -> None:
    made = approved(place, "1.jpg")
    before = everything(place)
    shown = erase(place.house, made.id)
    assert everything(place) == before
    assert [(line.key, line.reasons) for line in shown.lines] == [("1.jpg", ()), ("1-again.jpg", ())]
    for token in (None, "wrong"):
        with pytest.raises(UsageError, match="dry run"):
            erase(place.house, made.id, token=token, dry_run=False)
    assert everything(place) == before


def test_a_hold_forbids_it_and_says_so(place: World) -> None:
    made = approved(place, "1.jpg")
    place.hold(place.numbers[1])
    assert [line.reasons for line in erase(place.house, made.id).lines] == [
        ("legal hold case",)
    ] * 2  # the copy, too
    with pytest.raises(
        BlockedByPolicy, match=r"2 of 2 photos must not be erased now: 1\.jpg: legal hold case"
    ):
        carried_out(place, made.id)
    assert place.store.asked == 0
    assert events(place.house, "erasure.intended") == []


def test_a_hold_that_comes_between_intent_and_deletion_is_met(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = approved(place, "1.jpg")
    crash_at(monkeypatch, "erase.anchored")
    with pytest.raises(Crash):
        carried_out(place, made.id)
    shown = erase(place.house, made.id)
    real = place.store.versions_of

    def versions_of(key: str) -> Any:
        place.store.versions_of = real
        return real(key)

    place.store.versions_of = versions_of
    monkeypatch.setattr("tasks.erase.log_is_anchored", lambda *_: place.hold(place.numbers[1]))
    with pytest.raises(BlockedByPolicy, match="legal hold"):
        erase(place.house, made.id, token=shown.token, dry_run=False)
    assert place.store.asked == 0
    assert len(events(place.house, "erasure.withdrawn")) == 2
    assert rows(place.house, erasures)[0].state == State.RUNNING


def test_nothing_is_forgotten_while_something_is_left(place: World) -> None:
    made = approved(place, "1.jpg")
    place.store.answers = {0: "lie"}
    found = carried_out(place, made.id)
    assert (found.done, [one.what for one in found.left]) == (False, ["1.jpg: its store still holds it"])
    assert count(place.house, object_versions, object_versions.c.key == "1.jpg") == 1
    assert carried_out(place, made.id).done


def test_a_lock_of_the_store_is_named(place: World) -> None:
    made = approved(place, "1.jpg")
    place.store.locked = {"1.jpg"}
    assert [one.what for one in carried_out(place, made.id).left] == [
        "1.jpg: the store refuses: a lock, a hold, or no right"
    ]
    place.store.locked = set()
    assert carried_out(place, made.id).done


def test_the_same_bytes_under_another_version_of_the_key_go_too(place: World) -> None:
    made = approved(place, "1.jpg")
    place.store.replace("1.jpg", tiny_jpeg(1))  # which no night has seen
    assert carried_out(place, made.id).done
    assert place.store.versions_of("1.jpg") == []


def test_photos_that_came_since_are_not_left_behind(place: World) -> None:
    made = approved(place, "1.jpg")
    place.store.create("1-third.jpg", tiny_jpeg(1))
    night(place.house)
    with pytest.raises(BlockedByPolicy, match="1 more photos with the same bytes"):
        erase(place.house, made.id)


def test_tokens_of_an_original_that_a_list_destroyed_go_too(place: World) -> None:
    place.may_go = {place.numbers[1]}
    place.list([place.numbers[1]])
    place.run()
    made = approved(place, "1.jpg")
    assert carried_out(place, made.id).done
    assert count(place.house, summaries) == 2
    assert sound(place)


def test_all_of_a_shard(place: World) -> None:
    made = approved(place, "0.jpg", "1.jpg", "2.jpg")
    assert carried_out(place, made.id).done
    assert (count(place.house, shards), count(place.house, summaries)) == (0, 0)
    assert sound(place)


def test_one_after_the_other_in_one_shard(place: World) -> None:
    for key in ("0.jpg", "2.jpg"):
        assert carried_out(place, approved(place, key).id).done
    assert sound(place)
    assert tokens(place.house, locate(place.house, "1.jpg")).shape


def test_what_somebody_asked_about_it_is_forgotten(place: World) -> None:
    from tasks.restore import restore

    with pytest.raises(Exception, match="may not"):
        restore(place.house, "1.jpg", "Ann")
    assert count(place.house, audit_values, audit_values.c.value == "image 1.jpg") == 1
    carried_out(place, approved(place, "1.jpg").id)
    assert count(place.house, audit_values, audit_values.c.value == "image 1.jpg") == 0


def test_done_is_done(place: World) -> None:
    made = approved(place, "1.jpg")
    carried_out(place, made.id)
    size = len(events(place.house))
    assert carried_out(place, made.id).done
    assert len(events(place.house)) == size


def test_on_both_databases(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = furnish(make_world(tmp_path / "w", ledger_url, monkeypatch))
    assert carried_out(place, approved(place, "1.jpg").id).done
    assert sound(place)
    query = sa.select(object_versions).where(object_versions.c.identity == "erased")
    assert [row.key for row in rows(place.house, query)] == ["erased/2", "erased/4"]
    place.house.ledger.close()

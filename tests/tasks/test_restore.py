"""Restore: exactly the bytes that were destroyed, by somebody who may, under their key; anything else is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import tasks.restore
from fwd2bot_core.errors import (
    AccessDenied,
    IntegrityError,
    NotInArchive,
    ObjectMissing,
    UsageError,
)
from fwd2bot_core.retention.roles import Role
from infra.tables import object_versions
from tasks import people
from tasks.certificates import certificates_of
from tasks.reconcile import reconcile
from tasks.restore import Restored, restore
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.disposals import Crash, Template, World, make_world
from tests.tasks.signers import Signer
from tests.tasks.steps import events, rows


def prepared(world: World) -> World:
    """The first photo is destroyed."""
    for name, role in (("Dee", Role.DATA_TEAM), ("Nika", Role.COMPLIANCE), ("Oda", Role.OPERATOR)):
        people.register(world.house.ledger, name, Signer().public, [role])
    world.list(world.numbers[:1])
    world.may_go = set(world.numbers[:1])
    assert world.run().destroyed == 1
    return world


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        yield Template(tmp_path_factory.mktemp("restore"), patch)


@pytest.fixture
def world(template: Template) -> World:
    return prepared(template.world())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "tape.jpg"
    path.write_bytes(tiny_jpeg(0))
    return path


def unchanged(world: World) -> bool:
    return len(rows(world.house, object_versions)) == 3 and not events(world.house, "original.restored")


def test_on_each_database(
    tmp_path: Path, ledger_url: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = prepared(make_world(tmp_path / "w", ledger_url, monkeypatch))
    back = restore(world.house, "0.jpg", "Dee", copy=copy, reason="claim 7")
    assert world.store.read("0.jpg", identity=back.identity) == tiny_jpeg(0)
    (event,) = events(world.house, "original.restored")
    assert (event["seq"], event["reason_text"], event["actor"]["role"]) == (back.seq, "claim 7", "data_team")
    assert event["subject"]["object_version"] == world.numbers[0]
    assert "0.jpg" not in str(event)
    mine = object_versions.c.key == "0.jpg"
    old, new = rows(world.house, sa.select(object_versions).where(mine).order_by(object_versions.c.id))
    assert (old.destroyed_seq is not None, new.destroyed_seq, new.identity) == (True, None, back.identity)
    assert not certificates_of(world.house, "0.jpg")[0].bytes_are_gone
    assert night(world.house).compressed == 1
    assert not reconcile(world.house, COLLECTION).findings
    assert world.violations() == []
    world.house.ledger.close()


def test_what_came_back_goes_by_no_policy(world: World, copy: Path) -> None:
    from fwd2bot_core.retention.decide import decide
    from fwd2bot_core.retention.decision import Condition, failed
    from fwd2bot_core.retention.facts import Clock
    from fwd2bot_core.retention.policy import Policy
    from infra import audit_log, object_facts
    from tasks.standing import standing

    restore(world.house, "0.jpg", "Dee", copy=copy)
    night(world.house)
    number = rows(world.house, object_versions)[-1].id
    with world.house.ledger.read() as connection:
        (photo,) = object_facts.facts(connection, [number])
        about = standing(world.house, connection, COLLECTION)
    decision = decide(Policy.model_validate(world.policy), photo, about, Clock(audit_log.now()))
    assert Condition.DATED in failed(decision.mask)


def test_from_another_version_that_the_store_has(world: World) -> None:
    world.store.create("twin.jpg", tiny_jpeg(0))
    night(world.house)
    back = restore(world.house, "0.jpg", "Nika")
    assert back.source.startswith("twin.jpg v:")
    assert world.store.read("0.jpg") == tiny_jpeg(0)


def test_from_a_hidden_version_of_the_key(world: World) -> None:
    world.store.create("0.jpg", tiny_jpeg(0))
    world.store.hide("0.jpg")
    assert restore(world.house, "0.jpg", "Nika").source.startswith("0.jpg v:")


def test_without_any_version_a_copy_is_asked_for(world: World) -> None:
    with pytest.raises(ObjectMissing, match="--from FILE"):
        restore(world.house, "0.jpg", "Nika")
    assert unchanged(world)


@pytest.mark.parametrize("data", [tiny_jpeg(1), tiny_jpeg(0) + b"\0", b""])
def test_other_bytes_are_refused(world: World, copy: Path, data: bytes) -> None:
    copy.write_bytes(data)
    with pytest.raises(UsageError, match="exactly these bytes"):
        restore(world.house, "0.jpg", "Dee", copy=copy)
    assert unchanged(world)
    assert not world.store.versions_of("0.jpg")


@pytest.mark.parametrize("person", ["Oda", "Ann", "Nobody"])
def test_only_who_may(world: World, copy: Path, person: str) -> None:
    with pytest.raises(AccessDenied):
        restore(world.house, "0.jpg", person, copy=copy)
    assert unchanged(world)
    assert [event["subject"]["act"] for event in events(world.house, "access.denied")] == ["original.restore"]


def test_what_was_not_destroyed_is_refused(world: World, copy: Path) -> None:
    for image in ("1.jpg", "unknown.jpg"):
        with pytest.raises(NotInArchive):
            restore(world.house, image, "Dee", copy=copy)
    assert unchanged(world)


def test_another_photo_under_the_key_is_never_covered(world: World, copy: Path) -> None:
    world.store.create("0.jpg", tiny_jpeg(77))
    with pytest.raises(UsageError, match="another photo"):
        restore(world.house, "0.jpg", "Dee", copy=copy)
    assert world.store.read("0.jpg") == tiny_jpeg(77)
    assert unchanged(world)


def test_twice_is_refused(world: World, copy: Path) -> None:
    restore(world.house, "0.jpg", "Dee", copy=copy)
    with pytest.raises(UsageError, match="already"):
        restore(world.house, "0.jpg", "Dee", copy=copy)
    assert len(events(world.house, "original.restored")) == 1


def test_a_crash_after_the_put_is_taken_over(
    world: World, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(step: str) -> None:
        raise Crash

    monkeypatch.setattr(tasks.restore, "reach", die)
    with pytest.raises(Crash):
        restore(world.house, "0.jpg", "Dee", copy=copy)
    monkeypatch.undo()
    back: Restored = restore(world.house, "0.jpg", "Dee", copy=copy)
    assert [info.identity for info in world.store.versions_of("0.jpg")] == [back.identity]
    assert len(events(world.house, "original.restored")) == 1


def test_a_store_that_gives_other_bytes_back_is_told(
    world: World, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.store, "read", lambda key, identity=None: b"other", raising=False)
    with pytest.raises(IntegrityError, match="other bytes back"):
        restore(world.house, "0.jpg", "Dee", copy=copy)
    assert unchanged(world)

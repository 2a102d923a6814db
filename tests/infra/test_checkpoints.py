"""Signing the log: what is signed is true, what is not is refused, and a crash is finished by the next call."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.merkle import leaf_hash, root, verify_consistency
from fwd2bot_core.errors import IntegrityError, SettingsError, UnknownKey
from infra import anchoring, audit_keys, audit_log, audit_tree
from infra.checkpoints import Signed, sign_checkpoint
from infra.installation import Installation
from infra.settings import load_settings
from infra.tables import audit_anchors, audit_checkpoints, audit_events, audit_head, audit_nodes
from tests.infra.anchored import Build, anchored_house, files, grow
from tests.servers.intruder import as_intruder


@pytest.fixture
def build(tmp_path: Path, ledger_url: str) -> Iterator[Build]:
    """``build("vault")``: a house on each database, with that folder as anchor."""
    made: list[Installation] = []

    def one(*anchors: str, **sections: Any) -> Installation:
        made.append(anchored_house(tmp_path, ledger_url, *anchors, **sections))
        return made[-1]

    yield one
    for house in made:
        if "ledger" in house.__dict__:
            house.ledger.close()


def sign(house: Installation) -> Signed:
    return sign_checkpoint(house, reason="test")


def bodies(house: Installation) -> list[bytes]:
    with house.ledger.read() as connection:
        return list(connection.execute(sa.select(audit_events.c.body).order_by(audit_events.c.seq)).scalars())


def spoil(house: Installation, *statements: Any) -> None:
    with house.ledger.write() as connection:
        for statement in statements:
            as_intruder(connection).execute(statement)


def stored(house: Installation) -> list[int]:
    with house.ledger.read() as connection:
        return list(connection.execute(sa.select(audit_checkpoints.c.size)).scalars())


# what is signed


def test_the_checkpoint_is_over_all_events_and_signed_by_the_logs_key(build: Build) -> None:
    house = build("vault", "far")
    grow(house, 5)
    signed = sign(house)
    with house.ledger.read() as connection:
        said = checkpoints.read(signed.note, audit_keys.verifiers(connection))
        assert said.origin == audit_keys.origin(connection, house.settings.audit)
    assert (said.size, said.root) == (signed.size, signed.root) == (6, root(map(leaf_hash, bodies(house))))
    assert parse(bodies(house)[5])["type"] == "audit.key-added"
    assert signed.failed == {}
    assert {name: receipt.place.rpartition("/")[2] for name, receipt in signed.anchored.items()} == {
        "vault": f"{6:020}",
        "far": f"{6:020}",
    }


def test_each_checkpoint_extends_the_one_before(build: Build) -> None:
    house = build("vault")
    signed = []
    for count in (3, 1, 300, 255, 1):
        grow(house, count)
        signed.append(sign(house))
    with house.ledger.read() as connection:
        for old, new in itertools.pairwise(signed):
            proof = audit_tree.prove_consistency(connection, old.size, new.size)
            assert verify_consistency(old.size, old.root, new.size, new.root, proof)
    assert [one.size for one in signed] == [4, 5, 305, 560, 561]


def test_nothing_new_is_not_signed_again(build: Build, tmp_path: Path) -> None:
    house = build("vault")
    first = sign(house)
    there = files(tmp_path / "vault")
    assert sign(house) == first
    assert (stored(house), files(tmp_path / "vault")) == ([first.size], there)


def test_a_day_of_silence_is_signed_too(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build("vault")
    first, now = sign(house), audit_log.now()
    monkeypatch.setattr(audit_log, "now", lambda: now + timedelta(hours=23, minutes=59))
    second = sign(house)
    assert second.size == first.size + 1
    event = parse(bodies(house)[-1])
    assert (event["type"], event["reason_code"]) == ("audit.silent", "test")
    assert event["subject"]["seq"] == first.size - 1
    assert sign(house) == second


def test_the_logs_name_may_be_given(build: Build) -> None:
    assert sign(build(audit={"origin": "plant.example/audit"})).note.startswith("plant.example/audit\n1\n")


# anchors that fail


def test_an_anchor_that_is_gone_stops_nobody_and_gets_the_next(build: Build, tmp_path: Path) -> None:
    house = build("vault", "far")
    (tmp_path / "far").rmdir()
    grow(house)
    signed = sign(house)
    assert list(signed.anchored) == ["vault"]
    assert "There is no folder" in signed.failed["far"]
    (tmp_path / "far").mkdir()
    later = sign(house)
    assert (later.size, list(later.anchored), later.failed) == (signed.size, ["vault", "far"], {})
    assert files(tmp_path / "far") == files(tmp_path / "vault")


def test_an_anchor_that_was_emptied_is_told_and_gets_nothing(build: Build, tmp_path: Path) -> None:
    house = build("vault", "far")
    sign(house)
    shutil.rmtree(tmp_path / "far")
    (tmp_path / "far").mkdir()  # a mount point without its disk
    grow(house)
    signed = sign(house)
    assert "was given a checkpoint of 1 events and holds none now" in signed.failed["far"]
    assert files(tmp_path / "far") == {}


def test_an_anchor_that_holds_strangers_notes_is_told(build: Build, tmp_path: Path) -> None:
    house = build("vault", "far")
    grow(house)
    (tmp_path / "far" / "checkpoints").mkdir()
    (tmp_path / "far" / "checkpoints" / f"{7:020}").write_text("a shopping list\n")
    assert "holds what this log did not sign" in sign(house).failed["far"]
    (tmp_path / "other").mkdir()
    other = anchored_house(tmp_path / "other", f"sqlite:///{tmp_path}/other/ledger.sqlite", "far")
    grow(other)
    sign(other)
    (tmp_path / "far" / "checkpoints" / f"{7:020}").unlink()
    shutil.copytree(tmp_path / "other" / "far", tmp_path / "far", dirs_exist_ok=True)
    other.ledger.close()
    assert "none of the known keys signed" in sign(house).failed["far"]


def test_what_breaks_in_one_anchor_is_no_reason_to_leave_out_the_next(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.anchors.store import StoreAnchor

    publish = StoreAnchor.publish

    def broken(self: StoreAnchor, *given: Any) -> Any:
        if self.name == "vault":
            raise RuntimeError("a bug")
        return publish(self, *given)

    monkeypatch.setattr(StoreAnchor, "publish", broken)
    signed = sign(build("vault", "far"))
    assert (signed.failed, list(signed.anchored)) == (
        {"vault": "unexpected, and our fault: RuntimeError: a bug"},
        ["far"],
    )


# forks


@pytest.mark.parametrize("where", ["body", "leaf", "both", "gap"])
def test_a_changed_event_is_named_and_nothing_signed(build: Build, where: str) -> None:
    house = build("vault")
    grow(house, 3)
    first = sign(house)
    grow(house, 3)
    mine = audit_events.c.seq == 5
    body = bodies(house)[5].replace(b"test", b"nope")
    values = {"body": {"body": body}, "leaf": {"leaf": b"x" * 32}}
    values["both"] = {"body": body, "leaf": leaf_hash(body)}
    changed = audit_events.delete() if where == "gap" else audit_events.update().values(values[where])
    spoil(house, changed.where(mine))
    said = {"gap": "event 5 .* missing", "both": "head is not what its 7 events give"}
    with pytest.raises(IntegrityError, match=said.get(where, "event 5 .* not what was logged")):
        sign(house)
    assert stored(house) == [first.size]


def test_an_event_changed_before_the_last_checkpoint_is_noticed(build: Build) -> None:
    house = build("vault")
    grow(house, 3)
    sign(house)
    grow(house)
    spoil(house, audit_events.update().where(audit_events.c.seq == 3).values(leaf=b"x" * 32))
    with pytest.raises(IntegrityError, match="the ledger itself holds a checkpoint of 4 events with another"):
        sign(house)


def test_a_changed_node_is_noticed(build: Build) -> None:
    house = build()
    grow(house, 600)
    spoil(house, audit_nodes.update().where(audit_nodes.c.number == 1).values(hash=b"x" * 32))
    with pytest.raises(IntegrityError, match="node 1 of level 1"):
        sign(house)


def rebuilt(house: Installation, keep: int) -> None:
    """Cut the log off behind ``keep`` events, head, nodes and checkpoints with it, as a whole backup would."""
    with house.ledger.write() as connection:
        as_intruder(connection)
        connection.execute(audit_anchors.delete().where(audit_anchors.c.size > keep))
        connection.execute(audit_checkpoints.delete().where(audit_checkpoints.c.size > keep))
        connection.execute(audit_events.delete().where(audit_events.c.seq >= keep))
        frontier = audit_tree.frontier_of(keep, audit_tree.SqlTree(connection).subtree)
        connection.execute(audit_head.update().values(size=keep, frontier=frontier.dump()))


def test_a_ledger_that_was_put_back_is_not_signed(build: Build, tmp_path: Path) -> None:
    house = build("vault")
    grow(house, 2)
    sign(house)
    grow(house, 4)
    second = sign(house)
    rebuilt(house, 3)
    with pytest.raises(IntegrityError, match=r"vault.*has seen 7 events of this log, and the ledger holds 3"):
        sign(house)
    assert len(bodies(house)) == 3
    grow(house, 9)  # it went on from there: now long enough, and another history
    with pytest.raises(IntegrityError, match=r"vault.*holds a checkpoint of 7 events with another root"):
        sign(house)
    assert stored(house) == [3]
    assert files(tmp_path / "vault")["checkpoint"].decode() == second.note


def test_a_new_ledger_under_the_old_name_and_key_is_not_signed(build: Build) -> None:
    house = build("vault", audit={"origin": "plant"})
    grow(house, 4)
    sign(house)
    with house.ledger.write() as connection:
        as_intruder(connection)
        for table in ("audit_anchors", "audit_checkpoints", "audit_keys", "audit_events"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.execute(audit_head.update().values(size=0, frontier=b""))
    grow(house, 8)
    with pytest.raises(IntegrityError, match="checkpoint of 5 events with another root"):
        sign(house)
    assert stored(house) == []


def test_lost_checkpoint_rows_are_no_fork(build: Build) -> None:
    """Whoever deletes them gains nothing: the anchors hold them, and the log still extends them."""
    house = build("vault")
    grow(house, 4)
    first = sign(house)
    spoil(house, audit_anchors.delete(), audit_checkpoints.delete())
    again = sign(house)
    assert (again.note, list(again.anchored)) == (first.note, ["vault"])


def test_two_checkpoints_of_one_size_in_an_anchor(build: Build, tmp_path: Path) -> None:
    """The key is in the wrong hands: somebody signed another history of the same length, and put it there."""
    house = build("vault")
    grow(house, 4)
    signed = sign(house)
    with house.ledger.read() as connection:
        origin = audit_keys.origin(connection, house.settings.audit)
    signer = audit_keys.open_signer(house.settings.audit, origin)
    forged = checkpoints.sign(checkpoints.Checkpoint(origin, signed.size, b"x" * 32), [signer])
    (tmp_path / "vault" / "checkpoints" / f"{signed.size:020}").write_text(forged)
    with pytest.raises(IntegrityError, match=r"vault.*5 events with another root"):
        sign(house)


def test_a_checkpoint_that_its_note_does_not_say(build: Build) -> None:
    house = build()
    grow(house, 4)
    sign(house)
    spoil(house, audit_checkpoints.update().values(root=b"x" * 32))
    with pytest.raises(IntegrityError, match="is not what its note says"):
        sign(house)


# keys


def test_another_key_than_the_logs_is_refused(build: Build, tmp_path: Path) -> None:
    house = build("vault")
    sign(house)
    (tmp_path / "audit-key").unlink()
    grow(house)
    with pytest.raises(UnknownKey):
        sign(house)
    assert stored(house) == [1]


def test_a_key_that_others_can_read_is_refused_before_anything_is_written(
    build: Build, tmp_path: Path
) -> None:
    house = build("vault")
    (tmp_path / "audit-key").write_text("secret")
    (tmp_path / "audit-key").chmod(0o644)
    with pytest.raises(SettingsError):
        sign(house)
    assert bodies(house) == []


# crashes and company


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["_stored", "publish", "_write_down"])
def test_what_a_crash_left_the_next_call_finishes(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    import infra.checkpoints

    house = build("vault", "far")
    grow(house, 3)
    owner = infra.checkpoints if step == "_stored" else anchoring

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, die)
        with pytest.raises(Killed):
            sign(house)
    signed = sign(house)
    assert (signed.size, signed.failed, stored(house)) == (4, {}, [4])
    assert set(signed.anchored) == {"vault", "far"}
    assert files(tmp_path / "vault") == files(tmp_path / "far")
    assert files(tmp_path / "vault")["checkpoint"].decode() == signed.note


def _grow_and_sign(config: Path, turns: int) -> None:
    house = Installation(load_settings(config))
    for _ in range(turns):
        grow(house)
        signed = sign(house)
        assert signed.failed == {}, signed.failed
    house.ledger.close()


@pytest.mark.slow
def test_processes_that_sign_at_once_never_fork(build: Build, tmp_path: Path) -> None:
    house = build("vault", "far")
    sign(house)
    spawned = multiprocessing.get_context("spawn")
    processes = [
        spawned.Process(target=_grow_and_sign, args=(tmp_path / "fwd2bot.toml", 4)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    last = sign(house)
    assert last.size == 1 + 8
    with house.ledger.read() as connection:
        for row in connection.execute(sa.select(audit_checkpoints)):
            assert audit_tree.root_at(connection, row.size) == row.root
    for vault in ("vault", "far"):
        held = files(tmp_path / vault)
        assert held["checkpoint"].decode() == last.note
        names = {name for name in held if name.startswith("checkpoints/")}
        assert names <= {f"checkpoints/{size:020}" for size in stored(house)}

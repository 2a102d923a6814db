"""A ledger and its archive know each other, and which of them is older."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.errors import ExitCode, IntegrityError
from infra import leases, pairing
from infra.installation import Installation
from infra.tables import RunState, audit_events, installation
from tasks.verify import verify
from tests.houses import COLLECTION, compressed_once, fwd2bot, night
from tests.servers.intruder import as_intruder
from tests.tasks.steps import rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def contents(house: Installation) -> dict[str, bytes]:
    return {entry.key: house.archive.read(entry.key) for entry in house.archive.list()}


def head(house: Installation) -> dict[str, Any]:
    return dict(json.loads(house.archive.read(pairing.PATH)))


def back_up(house: Installation, tmp_path: Path) -> Path:
    """A whole copy of the ledger's file, made while nobody uses it."""
    house.ledger.close()
    return Path(shutil.copy(tmp_path / "ledger.sqlite", tmp_path / "backup.sqlite"))


def lose_the_ledger(house: Installation, tmp_path: Path) -> None:
    house.ledger.close()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()


def restore(house: Installation, tmp_path: Path) -> None:
    lose_the_ledger(house, tmp_path)
    shutil.copy(tmp_path / "backup.sqlite", tmp_path / "ledger.sqlite")


class Interrupt(SilentScreen):
    """Ends a night after its first commit."""

    def advanced(self, images: int) -> None:
        raise KeyboardInterrupt


def test_after_a_night_the_archive_names_its_ledger_and_how_far_it_came(
    house: BuildHouse, photos: Photos
) -> None:
    photos(5)
    made = house()
    night(made)
    (mine,) = rows(made, installation)
    events = rows(made, sa.select(audit_events).order_by(audit_events.c.seq))
    said = head(made)
    assert said == {
        "installation": mine.uuid,
        "events": len(events) - 2,  # told before the transaction which logs that the run ended
        "leaf": events[-3].leaf.hex(),
    }
    assert [event.type for event in events[-2:]] == ["run.ended", "audit.key-added"]
    night(made)
    assert head(made)["events"] > said["events"]


@pytest.mark.parametrize("meanwhile", ["a night", "a night that was interrupted"])
def test_a_ledger_restored_from_an_older_copy_starts_no_night_and_sweeps_nothing(
    house: BuildHouse, photos: Photos, tmp_path: Path, meanwhile: str
) -> None:
    photos(20)
    made = house(night={"orphan_hours": 0.0})
    night(made)
    back_up(made, tmp_path)
    photos(40, start=100)
    if meanwhile == "a night":
        assert night(made).compressed == 40
    else:
        with pytest.raises(KeyboardInterrupt):
            run_night(made.settings, None, Interrupt())
    before = contents(made)
    restore(made, tmp_path)
    old = (tmp_path / "ledger.sqlite").read_bytes()

    for _ in range(2):  # it does not wear off
        with pytest.raises(
            IntegrityError, match=r"restored from an older backup, or changed\. Nothing was done"
        ):
            night(made)
    ended = fwd2bot("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
    assert ended.returncode == ExitCode.INTEGRITY == 5
    assert ended.stderr.startswith("fwd2bot: the ledger does not hold event ")
    assert "Traceback" not in ended.stderr
    assert contents(made) == before  # the newer shards, orphans to this ledger, above all
    made.ledger.close()
    assert (tmp_path / "ledger.sqlite").read_bytes() == old


def test_the_newest_copy_of_the_ledger_is_as_good_as_the_ledger(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(20)
    made = house(night={"orphan_hours": 0.0})
    night(made)
    back_up(made, tmp_path)
    restore(made, tmp_path)
    photos(5, start=100)
    assert night(made).compressed == 5
    assert compressed_once(made) == 25


def test_a_new_ledger_on_a_used_archive_is_refused(house: BuildHouse, photos: Photos, tmp_path: Path) -> None:
    photos(5)
    made = house(night={"orphan_hours": 0.0})
    night(made)
    before = contents(made)
    uuid = head(made)["installation"]
    lose_the_ledger(made, tmp_path)
    fresh = house(night={"orphan_hours": 0.0})
    with pytest.raises(IntegrityError, match=rf"belongs to another ledger \(installation {uuid}\)"):
        night(fresh)
    assert contents(fresh) == before
    assert rows(fresh, installation) == rows(fresh, audit_events) == []


def test_another_ledgers_archive_is_refused(house: BuildHouse, photos: Photos) -> None:
    photos(5)
    one = house()
    night(one)
    other = house(archive={"store": "archive-2", "ledger": "ledger-2.sqlite"})
    night(other)
    mixed = house(archive={"store": "archive-2"})
    before = contents(mixed)
    with pytest.raises(IntegrityError, match="belongs to another ledger"):
        night(mixed)
    assert contents(mixed) == before


def test_an_emptied_archive_under_a_used_ledger_is_refused(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(5)
    made = house()
    night(made)
    shutil.rmtree(tmp_path / "archive")
    photos(5, start=100)
    emptied = house()
    with pytest.raises(
        IntegrityError, match=r"holds no ledger-head\.json, but the ledger has committed shards"
    ):
        night(emptied)
    assert contents(emptied) == {}


def test_an_archive_that_was_not_written_to_yet_may_move(house: BuildHouse, tmp_path: Path) -> None:
    night(house())
    shutil.rmtree(tmp_path / "archive")
    assert night(house()).state == RunState.COMPLETED


@pytest.mark.parametrize(
    "body", [b"", b"not JSON", b"[]", b'{"installation": "x"}', b'{"strange": 1}', b"\xff"]
)
def test_a_damaged_head_is_said(house: BuildHouse, photos: Photos, body: bytes) -> None:
    photos(5)
    made = house()
    night(made)
    made.archive.replace(pairing.PATH, body)
    with pytest.raises(IntegrityError, match=r"ledger-head\.json in file://\S+ is damaged"):
        night(made)


def test_a_log_with_another_event_in_that_place_is_refused(house: BuildHouse, photos: Photos) -> None:
    """As after a restore and a while of work with a software that did not ask."""
    photos(5)
    made = house()
    night(made)
    number = head(made)["events"] - 1
    with made.ledger.write() as connection:
        forged = audit_events.update().where(audit_events.c.seq == number).values(leaf=bytes(32))
        as_intruder(connection).execute(forged)
    with pytest.raises(IntegrityError, match=f"does not hold event {number} as the archive saw it"):
        night(made)


def test_a_first_night_that_was_interrupted_is_resumed(house: BuildHouse, photos: Photos) -> None:
    """With shards committed, and no run that came to its end."""
    photos(45)
    made = house()
    with pytest.raises(KeyboardInterrupt):
        run_night(made.settings, None, Interrupt())
    assert night(made).compressed == 25
    assert compressed_once(made) == 45


def test_the_archive_is_never_told_of_an_event_that_does_not_come_to_be(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last transaction of a night fails, or its process dies in it: the next night must not be refused."""
    photos(5)
    made = house()

    def full(*_: object) -> None:
        raise OSError("the ledger's disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(leases, "release", full)
        with pytest.raises(OSError, match="disk is full"):
            night(made)
    log = rows(made, sa.select(audit_events).order_by(audit_events.c.seq))
    said = head(made)
    assert log[said["events"] - 1].leaf.hex() == said["leaf"]
    with made.ledger.write() as connection:  # its lease runs out
        connection.execute(sa.text("UPDATE leases SET run_id = NULL"))
    assert night(made).state == RunState.COMPLETED
    assert verify(made.ledger, made.archive).findings == ()


def test_the_head_of_an_archive_with_several_collections_only_grows(
    house: BuildHouse, photos: Photos
) -> None:
    photos(5)
    made = house(**{"collections.line-2": {"originals": "photos"}})
    seen = []
    for name in (COLLECTION, "line-2", COLLECTION):
        run_night(made.settings, name, SilentScreen())
        seen.append(head(made)["events"])
    assert seen == sorted(set(seen))

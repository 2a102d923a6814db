"""What a backfill is about: keys, whole days in a zone, lists of keys, what the ledger knows."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from fwd2bot_core.errors import UsageError
from infra.installation import Installation
from infra.objects import ObjectInfo
from tasks.backfill_scope import Entries, Scope, of_file
from tests.houses import COLLECTION, night
from tests.tasks.backfill_steps import small_slices

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
EVENING = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)  # the second of March in Tokyo, 07:30


def keys(house: Installation, scope: Scope) -> list[str]:
    return sorted(entry.key for entry in Entries(house, COLLECTION, scope))


@pytest.mark.parametrize(
    ("zone", "since", "until", "inside"),
    [
        ("UTC", date(2026, 3, 1), date(2026, 3, 1), True),
        ("UTC", date(2026, 3, 2), None, False),
        ("Asia/Tokyo", date(2026, 3, 2), date(2026, 3, 2), True),
        ("Asia/Tokyo", None, date(2026, 3, 1), False),
        ("America/New_York", date(2026, 3, 1), None, True),
        ("UTC", None, None, True),
    ],
)
def test_days_are_whole_days_of_the_zone(
    zone: str, since: date | None, until: date | None, inside: bool
) -> None:
    entry = ObjectInfo("a.jpg", 1, "x", None, EVENING)
    assert Scope(since=since, until=until, zone=zone).holds(entry) is inside


def test_no_day_lies_between() -> None:
    with pytest.raises(UsageError, match="no day lies between"):
        Scope(since=date(2026, 3, 2), until=date(2026, 3, 1))


def test_a_scope_comes_back_from_the_ledger_as_it_was() -> None:
    scope = Scope(prefix="a/", since=date(2026, 3, 1), zone="Asia/Tokyo")
    assert Scope.from_json(scope.to_json()) == scope
    assert str(scope) == "below 'a/', since 2026-03-01"
    assert str(Scope()) == "everything"
    assert str(Scope(kind="ledger", until=date(2026, 3, 1))).startswith(
        "what another compressor compressed, "
    )


def test_a_listing_is_cut_by_prefix_and_by_day(house: BuildHouse, photos: Photos) -> None:
    for path in photos(6)[:2]:
        os.utime(path, (EVENING.timestamp(), EVENING.timestamp()))
    installation = house()
    assert len(keys(installation, Scope())) == 6
    assert keys(installation, Scope(prefix="0003")) == ["0003.jpg"]
    day = date(2026, 3, 1)
    assert keys(installation, Scope(since=day, until=day)) == ["0000.jpg", "0001.jpg"]


def test_a_list_of_keys_is_asked_for_and_what_is_missing_is_counted(
    house: BuildHouse, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(5)
    small_slices(monkeypatch, 2)
    file = tmp_path / "keys.txt"
    file.write_text("0001.jpg\nnowhere.jpg\r\n\n0003.jpg\n")
    name, sha256 = of_file(file)
    entries = Entries(house(), COLLECTION, Scope(kind="list", file=name, file_sha256=sha256))
    assert [[entry.key for entry in chunk] for chunk in entries.chunks()] == [["0001.jpg", "0003.jpg"]]
    assert entries.missing == 1
    file.write_text("0001.jpg\n")
    with pytest.raises(UsageError, match="not the list of keys any more"):
        list(entries)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the list of keys"):
        of_file(tmp_path / "none.txt")


def test_what_the_ledger_knows_are_current_versions_as_a_listing_shows_them(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = photos(5)
    installation = house()
    night(installation)
    made[2].write_bytes(made[3].read_bytes() + b"more")
    photos(1, start=9)  # not known yet
    night_before = {
        entry.key: entry.identity for entry in Entries(installation, COLLECTION, Scope(kind="ledger"))
    }
    small_slices(monkeypatch, 2)
    night(installation)
    known = {entry.key: entry for entry in Entries(installation, COLLECTION, Scope(kind="ledger"))}
    assert sorted(known) == [*sorted(night_before), "0009.jpg"]
    assert known["0002.jpg"].identity != night_before["0002.jpg"]
    listed = {entry.key: entry for entry in installation.originals(COLLECTION).list()}
    assert {key: entry.identity for key, entry in known.items()} == {
        key: entry.identity for key, entry in listed.items()
    }


@pytest.mark.parametrize(
    ("key", "inside"),
    [
        ("2025-12-31/a.jpg", True),  # whatever the store says
        ("2026-01-01/a.jpg", False),
        ("undated/a.jpg", False),  # by the store: in March
    ],
)
def test_a_key_that_names_its_day_counts_before_the_store(key: str, inside: bool) -> None:
    scope = Scope(until=date(2025, 12, 31), key_pattern="%Y-%m-%d/*", key_zone="Asia/Tokyo")
    assert Scope.from_json(scope.to_json()).holds(ObjectInfo(key, 1, "x", None, EVENING)) is inside

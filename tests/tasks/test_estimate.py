"""What `plan` says is what the night then does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.installation import Installation
from infra.tables import batches, metadata
from tasks.discover import Discovery
from tasks.estimate import anything_to_do, estimate
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.steps import committed, count, die_with_the_process, planned, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def agrees(house: Installation) -> None:
    """The estimate, then the night, then both compared."""
    said = estimate(house, None)
    before = count(house, batches)
    summary = night(house)
    assert said.listed == summary.listed
    assert said.new == summary.new
    assert said.images == summary.compressed + summary.failed + summary.left
    assert said.bytes == summary.bytes_in
    assert said.batches == count(house, batches) - before
    if said.images >= 20:
        assert said.stored_bytes == pytest.approx(summary.bytes_out, rel=0.5)


def test_the_first_night(house: BuildHouse, photos: Photos) -> None:
    photos(45)
    said = estimate(house(), None)
    assert (said.listed, said.images, said.new, said.batches, said.batch_size) == (45, 45, 45, 3, 20)
    assert said.seconds is None
    assert said.seconds_from.startswith("unknown")
    agrees(house())


def test_a_night_without_news(house: BuildHouse, photos: Photos) -> None:
    photos(5)
    installation = house()
    night(installation)
    said = estimate(installation, None)
    assert said.nothing
    assert (said.batches, said.stored_bytes, said.seconds) == (0, 0, 0.0)
    agrees(installation)


def test_later_nights_are_measured_by_earlier_ones(house: BuildHouse, photos: Photos) -> None:
    photos(40)
    installation = house()
    night(installation)
    photos(20, start=100)
    said = estimate(installation, None)
    assert said.stored_from == "measured on 40 images"
    assert said.seconds_from.startswith("measured in night-")
    assert said.seconds is not None
    agrees(installation)


def test_overwritten_photos_count_once(house: BuildHouse, photos: Photos) -> None:
    made = photos(10)
    installation = house()
    night(installation)
    made[0].write_bytes(tiny_jpeg(200) + b"\0")
    assert estimate(installation, None).new == 1
    agrees(installation)


def test_what_a_dead_run_left_is_counted_once(house: BuildHouse, photos: Photos) -> None:
    photos(50)
    installation = house()
    run, _, found = planned(installation)
    committed(installation, run, found[:1])
    die_with_the_process(installation)
    photos(3, start=100)
    said = estimate(installation, None)
    assert (said.images, said.new, said.resumed, said.batches) == (33, 3, 30, 3)
    summary = night(installation)
    assert (summary.compressed, summary.new) == (33, 3)


def test_what_failed_is_for_the_retry(house: BuildHouse, photos: Photos) -> None:
    photos(5)[0].write_bytes(b"broken")
    installation = house()
    night(installation)
    said = estimate(installation, None)
    assert (said.images, said.failed, said.nothing) == (0, 1, True)


def test_looking_for_something_to_do_ends_at_the_first_news(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.discover.CHUNK", 2)
    photos(6)
    installation = house()
    night(installation)
    seen: list[Discovery] = []
    assert not anything_to_do(installation, COLLECTION, "night", progress=seen.append)
    assert [found.listed for found in seen] == [2, 4, 6]
    for number, photo in enumerate(photos(6)):
        photo.write_bytes(tiny_jpeg(300 + number) + b"\0")
    seen.clear()
    assert anything_to_do(installation, COLLECTION, "night", progress=seen.append)
    assert [found.listed for found in seen] == [2]


def test_what_the_ledger_knows_needs_no_listing(
    house: BuildHouse, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(5)[0].write_bytes(b"broken")
    installation = house()
    assert not anything_to_do(installation, COLLECTION, "retry")
    planned(installation)
    die_with_the_process(installation)
    monkeypatch.setattr("tasks.estimate.find_new", None)
    assert anything_to_do(installation, COLLECTION, "night")
    assert anything_to_do(installation, COLLECTION, "retry")
    monkeypatch.undo()
    assert night(installation).failed == 1
    monkeypatch.setattr("tasks.estimate.find_new", None)
    assert anything_to_do(installation, COLLECTION, "retry")


def test_it_writes_nothing(house: BuildHouse, photos: Photos) -> None:
    photos(5)
    installation = house()
    night(installation)
    photos(5, start=100)
    before = {name: rows(installation, table) for name, table in metadata.tables.items()}
    with installation.ledger.write():  # nobody could write now
        estimate(installation, None)
    assert {name: rows(installation, table) for name, table in metadata.tables.items()} == before

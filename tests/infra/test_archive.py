"""Reading an archive: the answer is about the image that was asked about, or there is none and it says why."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import IntegrityError, NotInArchive, UsageError
from infra import archive
from infra.installation import Installation
from infra.tables import contents, object_versions, summaries
from tests.houses import COLLECTION, tiny_jpeg
from tests.tasks.steps import begin, rows

BuildHouse = Callable[..., Installation]
KEY = "a.jpg"


@pytest.fixture
def two(house: BuildHouse, tmp_path: Path) -> Installation:
    """Two collections, each with a folder of its own."""
    (tmp_path / "photos-2").mkdir()
    return house(**{"collections.line-2": {"originals": "photos-2"}})


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., str]:
    """Write the photo as of a day and give the sha256 of its bytes."""

    def write(data: bytes, *, day: int, folder: str = "photos") -> str:
        path = tmp_path / folder / KEY
        path.write_bytes(data)
        os.utime(path, ns=(day * 10**15, day * 10**15))
        return hashlib.sha256(data).hexdigest()

    return write


def night(house: Installation, collection: str = COLLECTION) -> None:
    run_night(house.settings, collection, SilentScreen())


def shows(house: Installation, data: bytes, stored: archive.Stored) -> bool:
    fake = FakeCompressor()
    return np.array_equal(archive.tokens(house, stored), fake.compress([fake.prepare(data)]).tokens[0])


def test_a_key_means_its_current_version(house: BuildHouse, put: Callable[..., str]) -> None:
    made = house()
    for day in (1, 2):
        sha256 = put(tiny_jpeg(day), day=day)
        night(made)
    stored = archive.locate(made, KEY)
    assert shows(made, tiny_jpeg(2), stored)
    assert (stored.collection, stored.key, stored.sha256, stored.superseded) == (
        COLLECTION,
        KEY,
        sha256,
        False,
    )
    (version,) = [v for v in archive.life(made, KEY) if v["superseded_at"] is None]
    assert stored.identity == version["identity"]


def test_a_superseded_version_is_found_by_its_content_only(
    house: BuildHouse, put: Callable[..., str]
) -> None:
    made = house()
    old = put(tiny_jpeg(1), day=1)
    night(made)
    put(tiny_jpeg(2), day=2)
    night(made)
    stored = archive.locate(made, old[:12])
    assert shows(made, tiny_jpeg(1), stored)
    assert (stored.sha256, stored.superseded) == (old, True)


def test_a_broken_current_version_is_not_answered_from_an_older_one(
    house: BuildHouse, put: Callable[..., str]
) -> None:
    made = house()
    old = put(tiny_jpeg(1), day=1)
    night(made)
    broken = put(tiny_jpeg(2)[:200], day=2)
    night(made)
    for image in (KEY, broken):
        with pytest.raises(
            NotInArchive, match=r"no committed tokens of its current version: truncated, "
        ) as said:
            archive.locate(made, image)
        assert f"An older version has some: ask for it by its sha256, {old[:12]}." in str(said.value)
    assert shows(made, tiny_jpeg(1), archive.locate(made, old[:12]))


def test_a_first_version_that_failed_has_no_older_one(house: BuildHouse, put: Callable[..., str]) -> None:
    made = house()
    put(b"broken", day=1)
    night(made)
    with pytest.raises(NotInArchive, match=f"not_an_image, .*`fwd2bot show {KEY}`") as said:
        archive.locate(made, KEY)
    assert "older version" not in str(said.value)


def test_old_content_that_was_put_back_is_current_again(house: BuildHouse, put: Callable[..., str]) -> None:
    made = house()
    for number, day in ((1, 1), (2, 2), (1, 1)):
        put(tiny_jpeg(number), day=day)
        night(made)
    assert shows(made, tiny_jpeg(1), archive.locate(made, KEY))


def test_a_key_of_two_collections_is_refused_until_one_is_named(
    two: Installation, put: Callable[..., str]
) -> None:
    put(tiny_jpeg(1), day=1)
    put(tiny_jpeg(2), day=1, folder="photos-2")
    for collection in (COLLECTION, "line-2"):
        night(two, collection)
    with pytest.raises(
        UsageError, match=r"'a\.jpg' is in the collections line-1, line-2: name one with --collection"
    ):
        archive.locate(two, KEY)
    for number, collection in ((1, COLLECTION), (2, "line-2")):
        stored = archive.locate(two, KEY, collection)
        assert stored.collection == collection
        assert shows(two, tiny_jpeg(number), stored)


def test_equal_content_under_two_keys_is_one_picture(two: Installation, put: Callable[..., str]) -> None:
    """Asked for by its content there is nothing to choose; the one that is current is named."""
    sha256 = put(tiny_jpeg(1), day=1, folder="photos-2")
    night(two, "line-2")
    put(tiny_jpeg(1), day=1)
    night(two)
    put(tiny_jpeg(2), day=2)
    night(two)
    stored = archive.locate(two, sha256)
    assert (stored.collection, stored.superseded) == ("line-2", False)
    assert shows(two, tiny_jpeg(1), stored)


def test_a_beginning_that_several_contents_share_is_refused(
    house: BuildHouse, photos: Callable[..., Any]
) -> None:
    photos(2)
    made = house()
    night(made)
    first, second = rows(made, sa.select(object_versions).order_by(object_versions.c.id))
    twin = first.content_sha256[:12] + second.content_sha256[12:]
    with made.ledger.write() as connection:
        connection.execute(contents.insert().values(sha256=twin, size=1))
        mine = object_versions.c.id == second.id
        connection.execute(object_versions.update().where(mine).values(content_sha256=twin))
    with pytest.raises(UsageError, match="give more of its digits"):
        archive.locate(made, first.content_sha256[:12])
    assert archive.locate(made, first.content_sha256).object_version_id == first.id


def test_what_no_night_has_taken_on_yet(house: BuildHouse, put: Callable[..., str]) -> None:
    made = house()
    put(tiny_jpeg(1), day=1)
    begin(made)
    with pytest.raises(NotInArchive, match="it was not compressed yet"):
        archive.locate(made, KEY)


def test_a_row_that_shows_another_image_gives_no_answer(
    house: BuildHouse, photos: Callable[..., Any]
) -> None:
    """Two rows of ``summaries`` were exchanged: the shard itself says whose tokens they are."""
    photos(2)
    made = house()
    night(made)
    with made.ledger.write() as connection:
        connection.execute(summaries.update().values(row=1 - summaries.c.row))
    with pytest.raises(
        IntegrityError, match="holds object version 2, not 1: the ledger and the shard disagree"
    ):
        archive.ask(made, "0000.jpg", "what is it ?")

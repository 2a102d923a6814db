"""Found images for people: pictures while originals exist, the reason where not, and a page that runs nothing."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from infra.archive import Archive
from infra.finding import Query
from infra.installation import Installation
from infra.search_hits import Hit
from tasks.search import search, thumbnail, write_page
from tests.houses import night

EVIL = "<script>alert('1')</script>\u202egpj.jpg"


@pytest.fixture
def archive(house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path) -> Archive:
    photos(3)
    big = Image.new("RGB", (900, 600), (10, 200, 30))
    exif = Image.Exif()
    exif[0x010F] = "a camera that names its owner"
    big.save(tmp_path / "photos" / "big.jpg", exif=exif)
    made = house()
    night(made)
    return Archive(made)


def hit(archive: Archive, key: str) -> Hit:
    (found,) = [one for one in search(archive, Query(text="a")).hits if one.key == key]
    return found


def test_a_thumbnail_is_small_and_says_nothing_of_the_file(archive: Archive) -> None:
    made = thumbnail(archive.house, hit(archive, "big.jpg"), side=120)
    picture = Image.open(io.BytesIO(made.jpeg or b""))
    assert picture.size == (120, 80)
    assert not picture.getexif()
    assert base64.b64decode(made.uri.partition(",")[2]) == made.jpeg


def test_an_original_that_is_gone_replaced_or_destroyed_says_so(archive: Archive, tmp_path: Path) -> None:
    found = [hit(archive, f"000{number}.jpg") for number in range(3)]
    (tmp_path / "photos" / "0000.jpg").unlink()
    (tmp_path / "photos" / "0001.jpg").write_bytes(b"other bytes by now")
    gone = replace(found[2], destroyed=True, destroyed_at=datetime(2026, 3, 1, tzinfo=UTC))
    said = [thumbnail(archive.house, one) for one in (found[0], found[1], gone)]
    assert [one.jpeg for one in said] == [None] * 3
    assert said[0].why_not == said[1].why_not == "the original is not there any more"
    assert said[2].why_not == "destroyed on 2026-03-01; `fwd2bot certificate` proves it"


def test_a_collection_that_the_settings_do_not_know_any_more_is_a_reason(archive: Archive) -> None:
    assert (
        "cannot be read"
        in thumbnail(archive.house, replace(hit(archive, "0001.jpg"), collection="old")).why_not
    )


def test_a_page_shows_all_hits_and_runs_nothing(archive: Archive, tmp_path: Path) -> None:
    found = search(archive, Query(text="a"))
    hostile = replace(found, hits=[replace(found.hits[0], key=EVIL), *found.hits[1:]])
    page = write_page(archive.house, hostile, EVIL, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert page.count('<img src="data:image/jpeg') == 3  # the fourth is not there under that name
    assert "the original is not there any more" in page
    assert set(re.findall('(?:src|href)="?([a-z]*:?)', page)) == {"data:"}

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fwd2bot_core.compressor.nano import fashion, samples
from fwd2bot_core.compressor.nano.trays import CELL, COLUMNS, EMPTY


def test_an_archive_is_laid_out_by_line_and_day(tmp_path):
    keys = samples.write_archive(tmp_path, 6, seed=1)
    assert keys[:2] == ["line-1/2026-11-23/tray-000000.jpg", "line-2/2026-11-23/tray-000001.jpg"]
    assert sorted(keys) == sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.jpg"))
    for index, key in enumerate(keys):
        path = tmp_path / key
        assert path.stat().st_mtime == samples.taken(index).timestamp()
        with Image.open(path) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (384, 384), "RGB")


def test_more_pictures_leave_the_earlier_ones_alone(tmp_path):
    samples.write_archive(tmp_path / "a", 8, seed=1)
    keys = samples.write_archive(tmp_path / "b", 5, seed=1)
    keys += samples.write_archive(tmp_path / "b", 3, seed=1, start=5)
    assert [(tmp_path / "a" / key).read_bytes() for key in keys] == [
        (tmp_path / "b" / key).read_bytes() for key in keys
    ]
    assert samples.picture(3, seed=2) != samples.picture(3, seed=1)


def test_days_hold_a_thousand_pictures_and_go_back_in_time():
    assert samples.key(999).split("/")[1] == "2026-11-23"
    assert samples.key(1_000).split("/")[1] == "2026-11-22"
    assert samples.taken(999).date() == samples.taken(0).date()


def test_facts_say_where_something_lies():
    for index in range(20):
        with Image.open(io.BytesIO(samples.picture(index, seed=1))) as image:
            pixels = np.asarray(image, np.float32)
        facts = samples.facts(index, seed=1)
        for cell, held in enumerate(facts.cells):
            top, left = CELL * (cell // COLUMNS), CELL * (cell % COLUMNS)
            spread = pixels[top + 16 : top + CELL - 16, left + 16 : left + CELL - 16].std(axis=(0, 1)).max()
            assert (spread > 12) == (held.kind != EMPTY), (index, cell, held, spread)


def test_sizes_are_those_of_small_inspection_photos():
    sizes = [len(samples.picture(index, seed=1)) for index in range(30)]
    assert min(sizes) > 10_000
    assert max(sizes) < 50_000


@pytest.mark.skipif(not fashion.ROOT.exists(), reason="needs the Debian package dataset-fashion-mnist")
def test_every_photo_of_the_sheet_is_of_the_test_split_and_of_its_kind(tmp_path):
    photos, kinds = fashion.photos("test")
    known = {photo.tobytes(): int(kind) for photo, kind in zip(photos, kinds, strict=True)}
    assert [known[photo.tobytes()] for photo in samples._photos()] == [i % 10 for i in range(1_000)]
    samples.make_sheet(tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as made, Image.open(samples.SHEET) as shipped:
        assert np.array_equal(np.asarray(made), np.asarray(shipped))

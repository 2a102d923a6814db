"""Which parts of a photo are seen, in which order, and what a fingerprint makes of it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fwd2bot_core.compressor.preprocess import cut
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.compressor.view import MAX_CROPS, Region, View, seen_through
from fwd2bot_core.compressor.view_settings import ViewSettings
from fwd2bot_core.errors import UsageError
from tests.core.compressor.pictures import gradient

WELD = Region("weld", 0.5, 0.25, 0.5, 0.5)
OWN = CompressorSpec(
    name="tiny",
    fingerprint="a" * 64,
    k=8,
    d=16,
    dtype="float32",
    prompt="",
    preprocessing={"size": [64, 64], "mean": [0.5]},
)
SETTLED = View(k=8, size=(64, 64))

untimed = settings(deadline=None, max_examples=60)  # a busy machine is no finding
sides = st.integers(1, 4000)
tilings = st.tuples(st.integers(1, 8), st.integers(1, 8)).filter(lambda tiles: tiles != (1, 1))
overlaps = st.floats(0, 0.5, allow_nan=False)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    left, top = draw(st.integers(0, 999)), draw(st.integers(0, 999))
    width, height = draw(st.integers(1, 1000 - left)), draw(st.integers(1, 1000 - top))
    return Region("r", left / 1000, top / 1000, width / 1000, height / 1000)


def stretches(view: View, width: int, height: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The columns' and the rows' edges in pixels."""
    boxes = [crop.box(width, height) for crop in view.crops]
    columns, rows = view.tiles
    across, down = boxes[:columns], boxes[::columns]
    assert len(down) == rows
    return [(box[0], box[2]) for box in across], [(box[1], box[3]) for box in down]


@untimed
@given(tilings, overlaps, sides, sides)
def test_tiles_cover_every_pixel_and_overlap_no_more_than_asked(
    tiles: tuple[int, int], overlap: float, width: int, height: int
) -> None:
    view = View(thumbnail=False, tiles=tiles, overlap=overlap)
    for edges, side in zip(stretches(view, width, height), (width, height), strict=True):
        assert (edges[0][0], edges[-1][1]) == (0, side)
        longest = side / (len(edges) - (len(edges) - 1) * overlap)
        for (start, end), (following, beyond) in pairwise(edges):
            assert start <= following <= end <= beyond  # no pixel between two tiles is left out
            assert (
                end - following <= overlap * longest + 2
            )  # and outward rounding adds less than a pixel a side
        assert all(end - start <= longest + 2 for start, end in edges)


@untimed
@given(tilings, overlaps, sides, sides)
def test_tiles_lie_row_by_row_from_the_top_left(
    tiles: tuple[int, int], overlap: float, width: int, height: int
) -> None:
    view = View(thumbnail=False, tiles=tiles, overlap=overlap)
    boxes = [crop.box(width, height) for crop in view.crops]
    columns, rows = stretches(view, width, height)
    assert boxes == [(left, top, right, bottom) for top, bottom in rows for left, right in columns]
    assert columns == sorted(columns)
    assert rows == sorted(rows)


@untimed
@given(regions(), sides, sides)
def test_a_region_is_wholly_seen_and_inside_the_photo(region: Region, width: int, height: int) -> None:
    left, top, right, bottom = View(thumbnail=False, regions=(region,)).crops[0].box(width, height)
    assert 0 <= left <= region.left * width + 1e-6
    assert 0 <= top <= region.top * height + 1e-6
    assert width >= right >= (region.left + region.width) * width - 1e-6
    assert height >= bottom >= (region.top + region.height) * height - 1e-6
    assert right > left
    assert bottom > top


@untimed
@given(tilings, overlaps, regions(), st.integers(1, 500), st.integers(1, 500))
def test_a_photo_of_the_least_size_enlarges_no_crop(
    tiles: tuple[int, int], overlap: float, region: Region, width: int, height: int
) -> None:
    assume(tiles[0] * tiles[1] + 2 <= MAX_CROPS)
    view = View(tiles=tiles, overlap=overlap, regions=(region,))
    least = view.least((width, height))
    for left, top, right, bottom in (crop.box(*least) for crop in view.crops):
        assert right - left >= width
        assert bottom - top >= height


def test_crops_come_as_thumbnail_tiles_regions_in_the_order_of_the_settings() -> None:
    view = View(tiles=(2, 1), regions=(WELD, replace(WELD, name="edge")))
    names = [crop.name for crop in view.crops]
    assert names == ["thumbnail", "tile 1,1", "tile 1,2", "region weld", "region edge"]
    assert view.count == 5
    assert View().count == len(View().crops) == 1
    assert View().least((64, 48)) == (64, 48)


def test_a_crop_shows_what_lies_in_its_box() -> None:
    picture = gradient(40, 30)
    view = View(tiles=(2, 3), regions=(WELD,))
    whole = np.asarray(picture)
    parts = [np.asarray(part) for part in cut(picture, view.crops)]
    assert np.array_equal(parts[0], whole)
    assert np.array_equal(parts[2], whole[:10, 20:])  # tile 1,2
    assert np.array_equal(parts[5], whole[20:, :20])  # tile 3,1
    assert np.array_equal(parts[7], whole[7:23, 20:])  # a quarter and three quarters of 30, outwards


@pytest.mark.parametrize("share", [(0.7, 0.3), (0.9, 0.1), (1 / 3, 2 / 3), (0.35, 0.65)])
def test_shares_that_add_up_to_the_whole_are_not_outside(share: tuple[float, float]) -> None:
    region = Region("r", share[0], 0, share[1], 1)
    assert View(regions=(region,)).crops[1].box(3000, 10)[2:] == (3000, 10)


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0.5, 0, 0.6, 1), "region weld: it reaches outside the photo"),
        ((0, 0.5, 1, 0.51), "reaches outside"),
        ((-0.1, 0, 0.5, 0.5), "from 0 to 1"),
        ((0, 0, 40, 40), "from 0 to 1"),
        ((0, 0, float("nan"), 1), "from 0 to 1"),
        ((0.5, 0.5, 0, 0.2), "no extent"),
    ],
)
def test_a_region_that_is_none_of_the_photo_is_refused(
    box: tuple[float, float, float, float], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        Region("weld", *box)


@pytest.mark.parametrize("name", ["", "../x", "a b", "ü", "x" * 65])
def test_a_region_has_a_plain_name(name: str) -> None:
    with pytest.raises(UsageError, match="name it with letters"):
        Region(name, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"thumbnail": False}, "nothing of a photo would be seen"),
        ({"tiles": (8, 8)}, f"65 crops a photo: at most {MAX_CROPS}"),
        ({"tiles": (0, 3)}, "tiles is 0x3"),
        ({"tiles": (2, 2), "overlap": 0.51}, "overlap is 0.51"),
        ({"tiles": (2, 2), "overlap": float("nan")}, "overlap is nan"),
        ({"k": 0}, "k is 0"),
        ({"size": (64, 0)}, "size is 64x0"),
        ({"size": (64, 100_000)}, "from 1 to 8192"),
        ({"regions": (WELD, WELD)}, "two regions are named 'weld'"),
    ],
)
def test_a_view_that_cannot_be_is_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        View(**settings)  # type: ignore[arg-type]


def test_the_most_crops_are_still_allowed() -> None:
    assert View(thumbnail=False, tiles=(8, 8)).count == MAX_CROPS


def test_a_bundle_serves_the_k_that_it_was_trained_for() -> None:
    bundle = {"k": 8, "size": (64, 64), "trained": (1, 2, 4)}
    assert View().settled(**bundle) == SETTLED
    assert View(k=2).settled(**bundle).k == 2
    for k in (3, 16):
        with pytest.raises(
            UsageError, match=rf"k is {k}, and this bundle was trained for k = 1, 2, 4, 8 only"
        ):
            View(k=k).settled(**bundle)
    with pytest.raises(UsageError, match="trained for k = 8 only"):
        View(k=4).settled(k=8, size=(64, 64))


CHANGES = {
    "k": {"k": 4},
    "size": {"size": (64, 32)},
    "tiles": {"tiles": (3, 3)},
    "other tiles": {"tiles": (9, 1)},
    "overlap": {"tiles": (3, 3), "overlap": 0.1},
    "no thumbnail": {"tiles": (3, 3), "thumbnail": False},
    "region": {"regions": (WELD,)},
    "a moved region": {"regions": (replace(WELD, left=0.4),)},
    "a region by another name": {"regions": (replace(WELD, name="seam"),)},
    "two regions": {"regions": (WELD, replace(WELD, name="seam"))},
    "in the other order": {"regions": (replace(WELD, name="seam"), WELD)},
}


def spec_of(**settings: object) -> CompressorSpec:
    view = View(**settings).settled(k=8, size=(64, 64), trained=(4,))  # type: ignore[arg-type]
    return seen_through(OWN, SETTLED, view)


def test_each_setting_of_a_view_makes_another_fingerprint() -> None:
    prints = {name: spec_of(**change).fingerprint for name, change in CHANGES.items()}
    assert len({*prints.values(), OWN.fingerprint}) == len(CHANGES) + 1
    other = seen_through(replace(OWN, fingerprint="b" * 64), SETTLED, replace(SETTLED, tiles=(3, 3)))
    assert other.fingerprint not in prints.values()


@pytest.mark.parametrize("same", [{}, {"k": 8}, {"size": (64, 64)}, {"overlap": 0.2}, {"tiles": (1, 1)}])
def test_a_view_that_changes_nothing_is_the_bundles_own(same: dict[str, object]) -> None:
    assert spec_of(**same) == OWN


def test_a_spec_says_what_its_tokens_show() -> None:
    spec = spec_of(k=4, tiles=(2, 1), regions=(WELD,), size=(64, 32))
    assert spec.k == 16
    assert spec.token_bytes == 4 * 4 * 16 * 4
    assert spec.crops == ("thumbnail", "tile 1,1", "tile 1,2", "region weld")
    assert spec.preprocessing["size"] == [64, 32]
    assert spec.preprocessing["mean"] == [0.5]
    assert spec.preprocessing["view"]["k"] == 4
    assert OWN.crops == ("thumbnail",)


def test_a_view_travels_to_other_processes_and_is_known_without_torch() -> None:
    view = View(k=4, tiles=(2, 2), overlap=0.1, regions=(WELD,))
    assert pickle.loads(pickle.dumps(view)) == view
    assert hash(view) == hash(replace(view))
    script = "import sys, fwd2bot_core.compressor.view; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_the_same_share_written_otherwise_is_the_same_view() -> None:
    views = [
        View(tiles=(2, 2), overlap=0.0, regions=(Region("weld", 0.0, 0.3, 1.0, 0.5),)),
        View(tiles=(2, 2), overlap=0, regions=(Region("weld", 0, 0.1 + 0.2, 1, 0.5),)),
        View(tiles=(2, 2), overlap=-0.0, regions=(Region("weld", -0.0, 0.3, 1, 0.5),)),
    ]
    assert len({json.dumps(view.as_json()) for view in views}) == 1
    assert len(set(views)) == 1


def test_how_grey_is_shown_is_part_of_the_fingerprint_and_what_was_before_stays() -> None:
    assert "grey" not in View().as_json()
    assert "grey" not in ViewSettings().model_dump()
    stretched = ViewSettings(grey="percentile")
    assert stretched.model_dump()["grey"] == "percentile"
    spec = seen_through(OWN, SETTLED, replace(SETTLED, grey=stretched.view().grey))
    assert spec.preprocessing["view"]["grey"] == "percentile"
    assert spec.fingerprint != OWN.fingerprint == seen_through(OWN, SETTLED, SETTLED).fingerprint

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fwd2bot_core.compressor.nano import trays
from fwd2bot_core.compressor.nano.trays import EMPTY, Facts

BAG, BOOT = trays.KINDS.index("bag"), trays.KINDS.index("boot")
WHITE = np.full((28, 28), 255, np.uint8)


def test_facts_know_counts_places_and_words():
    facts = Facts((BAG, EMPTY, BOOT, BAG))
    assert facts.count == 3
    assert [facts.name(cell) for cell in range(4)] == ["bag", "nothing", "boot", "bag"]
    assert facts.places(BAG) == ("top left", "bottom right")
    assert facts.caption() == "top left bag , bottom left boot , bottom right bag"
    assert Facts((EMPTY,) * 4).caption() == "nothing"


def test_trays_come_with_all_kinds_and_a_fifth_of_cells_empty():
    rng = np.random.default_rng(0)
    cells = np.array([trays.draw_facts(rng).cells for _ in range(2_000)])
    assert (cells == EMPTY).mean() == pytest.approx(0.2, abs=0.02)
    for kind in range(10):
        assert (cells == kind).mean() == pytest.approx(0.08, abs=0.015)


@pytest.mark.parametrize("cell", range(4))
def test_an_item_lies_in_its_own_cell_and_in_no_other(cell):
    photos = [WHITE if i == cell else None for i in range(4)]
    picture = trays.render(photos, np.random.default_rng(1))
    assert picture.shape == (384, 384, 3)
    middles = [picture[96 + 192 * (i // 2), 96 + 192 * (i % 2)].mean() for i in range(4)]
    assert int(np.argmax(middles)) == cell
    assert middles[cell] > 120
    assert max(m for i, m in enumerate(middles) if i != cell) < 60


def test_items_never_reach_the_rim():
    for seed in range(20):
        picture = trays.render([WHITE] * 4, np.random.default_rng(seed))
        edge = picture[:, 192 - 3 : 192 + 3].mean(axis=(1, 2))
        assert edge.max() < 160  # tray, not a white item


def test_the_same_dice_give_the_same_picture_and_others_another():
    first = trays.render([WHITE, None, None, WHITE], np.random.default_rng(5))
    again = trays.render([WHITE, None, None, WHITE], np.random.default_rng(5))
    other = trays.render([WHITE, None, None, WHITE], np.random.default_rng(6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_photograph_is_a_jpeg_of_that_picture():
    photos = [WHITE, None, None, WHITE]
    with Image.open(io.BytesIO(trays.photograph(photos, np.random.default_rng(5)))) as image:
        found = np.asarray(image, np.int16)
    expected = trays.render(photos, np.random.default_rng(5))
    assert np.abs(found - expected).mean() < 4

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fwd2bot_core.compressor.nano import trays
from fwd2bot_core.compressor.nano.trays import CARD, CELL, CELLS, COLUMNS, EMPTY, Facts, Held

BAG, BOOT = trays.KINDS.index("bag"), trays.KINDS.index("boot")
RED, GREEN, WHITE = (trays.COLORS.index(name) for name in ("red", "green", "white"))
SOLID = np.full((28, 28), 255, np.uint8)
TALL = np.zeros((28, 28), np.uint8)
TALL[:, 11:17] = 255


def tray(**cells: Held) -> Facts:
    """An empty tray but for these, by the names of their compartments, and a card in c3 where none is given."""
    held = [cells.get(cell, Held(EMPTY)) for cell in CELLS]
    if all(one.kind != CARD for one in held):
        held[-1] = Held(CARD, 0, 4, 2)
    return Facts(tuple(held))


def render(facts: Facts, seed: int = 1, photo: np.ndarray = SOLID) -> np.ndarray:
    photos = [photo if held.is_item else None for held in facts.cells]
    return trays.render(facts, photos, np.random.default_rng(seed))


def compartment(picture: np.ndarray, cell: str) -> np.ndarray:
    row, column = divmod(CELLS.index(cell), COLUMNS)
    return picture[CELL * row : CELL * (row + 1), CELL * column : CELL * (column + 1)].astype(float)


def test_facts_know_items_places_and_the_lot():
    facts = tray(a1=Held(BAG), b2=Held(BOOT), c1=Held(BAG))
    assert facts.items == [0, 4, 6]
    assert facts.places(BAG) == [0, 6]
    assert facts.lot == "042"
    assert [facts.cells[cell].name for cell in (0, 1, 4, 8)] == ["bag", "nothing", "boot", "card"]


def test_trays_come_with_one_card_and_a_fifth_of_the_others_empty():
    rng = np.random.default_rng(0)
    cells = np.array([trays.draw_facts(rng).cells for _ in range(2_000)])
    kind = cells[..., 0]
    assert ((kind == CARD).sum(axis=1) == 1).all()
    others = kind[kind != CARD]
    assert (others == EMPTY).mean() == pytest.approx(1 - trays.FILLED, abs=0.02)
    assert set(others.tolist()) == {EMPTY, *trays.TOLD_APART}
    state = cells[kind >= 0][:, 4]
    shares = np.bincount(state, minlength=3) / len(state)
    np.testing.assert_allclose(shares, trays.STATE_SHARES, atol=0.02)
    assert (np.ptp(cells[kind == CARD][:, 1:4], axis=0) == 9).all()  # all digits come


def test_a_tray_of_other_kinds_holds_them():
    rng = np.random.default_rng(0)
    seen = {held.kind for _ in range(300) for held in trays.draw_facts(rng, range(10)).cells if held.is_item}
    assert seen == set(range(10))


def test_a_tray_says_as_many_bits_as_its_draws():
    assert trays.bits() == pytest.approx(78.9, abs=0.05)  # the model card's number


@pytest.mark.parametrize("cell", CELLS[:-1])
def test_an_item_lies_in_its_own_compartment_and_in_no_other(cell):
    picture = render(tray(**{cell: Held(BAG, WHITE)}))
    assert picture.shape == (trays.SIDE, trays.SIDE, 3)
    middles = {name: compartment(picture, name)[54:74, 54:74].mean() for name in CELLS[:-1]}
    assert max(middles, key=middles.__getitem__) == cell
    assert middles[cell] > 120
    assert max(value for name, value in middles.items() if name != cell) < 60


def test_items_never_reach_the_rim():
    for seed in range(10):
        picture = render(tray(**{cell: Held(BAG, WHITE, 1, 1) for cell in CELLS[:-1]}), seed)
        for edge in (CELL, 2 * CELL):
            assert picture[:, edge - 3 : edge + 3].mean(axis=(1, 2)).max() < 160  # tray, not a white item


def test_colour_size_and_pose_are_seen():
    small, big = Held(BAG, RED, 0), Held(BAG, GREEN, 1)
    picture = render(tray(a1=small, a2=big))
    red, green = (compartment(picture, cell)[54:74, 54:74].mean(axis=(0, 1)) for cell in ("a1", "a2"))
    assert red.argmax() == 0
    assert green.argmax() == 1
    area = [(compartment(picture, cell).max(axis=2) > 100).mean() for cell in ("a1", "a2")]
    assert area[1] > 1.4 * area[0]
    lying = render(tray(a1=Held(BAG, WHITE, 1, 0), a2=Held(BAG, WHITE, 1, 1)), photo=TALL)
    for cell, axis in (("a1", 0), ("a2", 1)):
        bright = np.argwhere(compartment(lying, cell)[8:-8, 8:-8].mean(axis=2) > 130)
        assert np.ptp(bright, axis=0).argmax() == axis


@pytest.mark.parametrize(("state", "color"), [("scratched", RED), ("scratched", WHITE), ("broken", RED)])
def test_damage_is_seen(state, color):
    """The same dice until the damage is drawn; where it lies, the picture is far from a whole item's."""
    fine, hurt = (Held(BAG, color, 1, 0, trays.STATES.index(name)) for name in ("fine", state))
    whole, damaged = (np.asarray(trays._tinted(SOLID, one, np.random.default_rng(3))) for one in (fine, hurt))
    changed = np.abs(whole.astype(int) - damaged).max(axis=2) > 100
    assert changed.mean() == pytest.approx(0.25 if state == "broken" else 0.06, abs=0.05)
    assert (damaged[changed].mean() > 150) == (state == "scratched" and color == RED)


def test_cards_with_different_lots_look_different_and_equal_ones_alike():
    def card(*digits: int) -> np.ndarray:
        return compartment(render(tray(b2=Held(CARD, *digits))), "b2")

    assert (card(1, 2, 3) == card(1, 2, 3)).all()
    assert (np.abs(card(1, 2, 3) - card(1, 2, 8)).max(axis=2) > 60).sum() > 50  # of the third digit's pixels


def test_the_same_dice_give_the_same_picture_and_others_another():
    facts = tray(a1=Held(BAG, WHITE), b3=Held(BOOT, RED, 1, 1, 1))
    assert np.array_equal(render(facts, 5), render(facts, 5))
    assert not np.array_equal(render(facts, 5), render(facts, 6))


def test_a_photograph_is_a_jpeg_of_that_picture():
    facts = tray(a1=Held(BAG, WHITE), c1=Held(BAG, WHITE))
    photos = [SOLID if held.is_item else None for held in facts.cells]
    with Image.open(io.BytesIO(trays.photograph(facts, photos, np.random.default_rng(5)))) as image:
        found = np.asarray(image, np.int16)
    assert np.abs(found - render(facts, 5)).mean() < 5

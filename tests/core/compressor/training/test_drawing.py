from __future__ import annotations

from pathlib import Path

from fwd2bot_core.compressor.training.dataset import Item, Question
from fwd2bot_core.compressor.training.drawing import Drawer


def item(i: int, *, questions: int = 3, captions: int = 2) -> Item:
    asked = [Question(f"q{n}", "a", "kind", "row") for n in range(questions)]
    return Item(Path(str(i)), str(i), "", asked, [f"c{n}" for n in range(captions)])


def drawer(items, **options) -> Drawer:
    settings = {"batch": 3, "compared": 5, "questions": 2, "lengths": (4, 2), "seed": 7}
    return Drawer(items, **(settings | options))


ALL = [item(i) for i in range(11)]


def test_a_step_asks_about_some_and_tells_more_apart():
    drawn = drawer(ALL).step(0)
    assert [len(one.questions) for one in drawn] == [2, 2, 2, 0, 0]
    assert all(one.caption in ("c0", "c1") for one in drawn)
    assert len({one.item.name for one in drawn}) == 5
    assert all(len(set(one.questions)) == len(one.questions) == len(one.lengths) for one in drawn)


def test_each_image_is_asked_about_once_a_round():
    made = drawer(ALL, batch=1, compared=0)
    names = [made.step(step)[0].item.name for step in range(22)]
    assert sorted(names[:11]) == sorted(names[11:]) == sorted(one.name for one in ALL)
    assert names[:11] != names[11:]


def test_a_step_depends_on_seed_and_number_alone():
    assert drawer(ALL).step(40) == drawer(ALL).step(40)
    assert drawer(ALL).step(40) != drawer(ALL).step(41)
    assert drawer(ALL).step(40) != drawer(ALL, seed=8).step(40)
    lengths = {n for step in range(20) for one in drawer(ALL).step(step) for n in one.lengths}
    assert lengths == {4, 2}


def test_processes_share_the_step_that_one_would_take():
    whole = drawer(ALL, batch=4, compared=6).step(5)
    shares = [drawer(ALL, batch=2, compared=3).step(5, rank, 2) for rank in (0, 1)]
    assert [len([one for one in share if one.questions]) for share in shares] == [2, 2]
    assert sorted(map(repr, [*shares[0], *shares[1]])) == sorted(map(repr, whole))


def test_images_with_captions_fill_up_beside_images_with_questions():
    mixed = [item(i, captions=0) for i in range(5)] + [item(i, questions=0) for i in range(5, 30)]
    drawn = drawer(mixed).step(2)
    assert [(bool(one.questions), bool(one.caption)) for one in drawn] == [(True, False)] * 3 + [
        (False, True)
    ] * 5


def test_a_small_data_set_is_drawn_whole_and_no_image_twice():
    drawn = drawer(ALL[:2], batch=8, compared=64).step(3)
    assert sorted(one.item.name for one in drawn) == ["0", "1"]


def test_a_loss_that_is_left_out_draws_nothing():
    assert all(one.caption is None for one in drawer(ALL, compared=0).step(0))
    assert all(not one.questions for one in drawer(ALL, batch=0).step(0))

from __future__ import annotations

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import shares

KINDS = [["cell", "lot"], ["cell", "lot"], ["cell"]]
MARKS = [[True, False], [True, True], [False]]


def test_shares_by_kind_and_of_all():
    assert shares.by_kind(MARKS, KINDS) == {"cell": pytest.approx(2 / 3), "lot": 0.5}
    assert shares.share(MARKS, KINDS) == pytest.approx(3 / 5)
    assert shares.counted(MARKS, KINDS, ["lot"]).tolist() == [[0, 1], [1, 1], [0, 0]]


def test_a_ratio_to_oneself_is_one_without_doubt():
    assert shares.ratio(MARKS * 50, MARKS * 50, KINDS * 50) == {"ratio": 1.0, "low": 1.0, "high": 1.0}


def test_an_interval_holds_the_ratio_and_narrows_with_more_pictures():
    rng = np.random.default_rng(3)
    widths = []
    for count in (100, 2_500):
        mine, whole = ((rng.random((count, 4)) < p).tolist() for p in (0.7, 0.8))
        found = shares.ratio(mine, whole, [["cell"] * 4] * count)
        assert found["low"] < found["ratio"] < found["high"]
        widths.append(found["high"] - found["low"])
    assert widths[1] < widths[0] / 3


def test_the_bootstrap_is_paired_by_picture():
    """Where both fail together, drawing pictures anew leaves the ratio nearly alone."""
    whole = (np.random.default_rng(1).random((400, 1)) < 0.5).tolist()
    mine = [row if place else [not row[0]] for place, row in enumerate(whole)]
    found = shares.ratio(mine, whole, [["cell"]] * 400)
    assert found["high"] - found["low"] < 0.03


def test_nothing_right_at_all_divides_by_nothing():
    none = [[False]] * 10
    assert shares.ratio(none, none, [["cell"]] * 10)["ratio"] == 0


def test_chance_says_the_commonest_answer_of_each_kind():
    asked = [[("?", "bag"), ("?", "123")], [("?", "bag"), ("?", "456")], [("?", "boot")]]
    assert shares.chance(asked, KINDS) == {
        "cell": pytest.approx(2 / 3),
        "lot": 0.5,
        "all": pytest.approx(3 / 5),
    }

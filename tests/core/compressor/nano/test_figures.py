"""All figures of an untrained bundle: that each is there and fits the card, the table and the plots."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor import adapters, bundle
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import card, design, exam, figures, goals, plots
from fwd2bot_core.errors import UsageError
from tests.core.compressor.nano import untrained

COUNTS = figures.Counts(trays=6, easy=4, train=40, test=20, curve=2)
NO_EASY = [[("what shape is in the image?", "circle"), ("is there a red shape?", "no")]] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return untrained.saved(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def twin(folder, tmp_path_factory):
    """A checkpoint of pairs that turn the base into something else."""
    net = bundle.load_bundle(folder, trainable=True).net
    found = adapters.pairs(net.lvlm.views[Stage.ANSWER.value])
    file = tmp_path_factory.mktemp("twin") / "twin.pt"
    torch.save({"parameters": {f"answer.{name}": pair.detach() + 0.1 for name, pair in found.items()}}, file)
    return file


@pytest.fixture
def small(monkeypatch, folder):
    """The exam without what must be installed first: photos that ship, pictures of noise."""
    made = bundle.load_bundle(folder)
    rng = np.random.default_rng(1)

    def noise(count: int):
        return rng.integers(0, 255, (count, 3, design.PIXELS, design.PIXELS)).astype(np.uint8)

    kinds = [["shape", "yes or no"]] * 4
    monkeypatch.setattr(exam, "held_out", lambda count: exam.shipped(made.prepare, count))
    monkeypatch.setattr(exam, "easy", lambda count: exam.Paper(noise(count), NO_EASY, kinds))
    monkeypatch.setattr(
        exam, "singles", lambda split, count: exam.Singles(noise(count), np.arange(count) % 10)
    )
    return made


def test_every_goal_of_its_own_is_measured(small, folder, tmp_path):
    found = figures.whole(
        {"fingerprint": "f" * 64, "origin": untrained.ORIGIN, "stages": {}}, figures.measure(small, COUNTS)
    )
    table = goals.rows(found, tmp_path)
    assert [row.figure for row in table if row.measured == goals.NOT_YET] == [
        row.figure for row in goals._elsewhere(found, tmp_path)
    ]
    assert found["counts"] == {"trays": 6, "easy": 4, "curve": 2}
    assert found["accuracy"]["trays"]["all"]["questions"] == 72
    assert found["search"]["9"]["among"] == 6
    assert "the base itself" in card.text(found, small.spec, table)
    assert set(plots.all_of(found)) == {"curve.svg", "boundary.svg"}


def test_a_twin_is_what_tokens_are_held_against(small, folder, twin):
    judge = figures.twin_of(folder, twin)
    found = figures.measure(small, COUNTS, judge)
    assert found["below"] == "twin"
    assert "from_image_twin" in found["accuracy"]["trays"]["all"]
    saved = torch.load(twin, weights_only=True)["parameters"]
    mine = adapters.pairs(judge.net.lvlm.views[Stage.ANSWER.value])
    assert len(mine) == len(saved) > 0
    assert all(torch.equal(pair, saved[f"answer.{name}"]) for name, pair in mine.items())


def test_a_file_of_other_pairs_is_refused(folder, tmp_path):
    torch.save({"parameters": {}}, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"answer\."):
        figures.twin_of(folder, tmp_path / "other.pt")


def test_the_boundary_is_the_fewest_tokens_from_which_all_more_keep_enough():
    def marks(right: int):
        return [[place < right for place in range(100)]]

    paper = exam.Paper(np.zeros((1, 1)), [[("?", "!")] * 100], [["cell"] * 100])
    short = {9: marks(100), 4: marks(98), 2: marks(50), 1: marks(99)}
    sat = figures.Sat(paper, np.zeros((1, 9, 1), np.float32), marks(100), None, short)
    assert figures._boundary(sat) == {"cell": 4}
    assert figures._boundary(figures.Sat(paper, sat.tokens, sat.whole, None, short | {9: marks(1)})) == {
        "cell": None
    }

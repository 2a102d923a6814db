"""The figures of the proof, on data whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fwd2bot_core.tokens.fidelity import AGGREGATES, CHOSEN
from tests.prove import fidelity_auroc
from tests.prove.fidelity_auroc import CEILING, Asked, auroc, figures, plot


def test_auroc_is_the_chance_that_a_loss_scores_lower() -> None:
    rng = np.random.default_rng(1)
    score, positive = rng.integers(0, 5, 60) / 4, rng.random(60) < 0.3
    lows, highs = score[positive], score[~positive]
    pairs = [(a < b) + (a == b) / 2 for a in lows for b in highs]
    assert auroc(score, positive) == pytest.approx(np.mean(pairs))
    weight = rng.integers(0, 3, 60)
    again = np.repeat(np.arange(60), weight)
    assert auroc(score, positive, weight.astype(float)) == pytest.approx(auroc(score[again], positive[again]))
    assert math.isnan(auroc(score, np.zeros(60, bool)))


def test_questions_and_images_are_counted_apart(tmp_path, monkeypatch) -> None:
    """Forty images of five questions each; every second image loses one, and its score is lower."""
    monkeypatch.setattr(fidelity_auroc, "DRAWS", 20)
    image = np.repeat(np.arange(40), 5)
    lost = (np.tile(np.arange(5), 40) == 2) & (image % 2 == 1)
    counted = np.tile(np.arange(5), 40) != 4
    score = np.where(np.arange(40) % 2 == 1, 0.5, 0.9)
    asked = Asked(dict.fromkeys(AGGREGATES, score), image, ["cell"] * 200, counted, lost)
    found = figures(asked)
    assert (found["questions"], found["losses"], found["images_with_losses"]) == (160, 20, 20)
    rate = found["auroc"][CHOSEN]
    assert rate["images"] == 1.0
    assert rate["questions"] == pytest.approx(
        (80 + 60 / 2) / 140
    )  # of 140 kept ones 60 lie in the same images
    assert rate["questions"] == found["auroc"][CEILING]["questions"]
    assert rate["questions_interval"][0] < rate["questions"] < rate["questions_interval"][1]
    assert found["by_kind"]["cell"]["losses"] == 20
    plot({"k = 1": (found, asked)}, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size > 1000

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fwd2bot_core.compressor.training.loop import Recipe, run

RECIPE = Recipe("line", steps=40, minutes=5, rate=0.05, batch=16, every=10, save_every=0.0)


class Killed(Exception):
    pass


def learn() -> dict[str, nn.Parameter]:
    return {"slope": nn.Parameter(torch.zeros(1))}


def losses(parameters, until=10**9):
    def terms(step: int):
        if step == until:
            raise Killed
        x = torch.from_numpy(np.random.default_rng(step).standard_normal(16))
        return {"fit": (parameters["slope"] * x - 3 * x).square().mean()}

    return terms


def test_a_stage_learns_and_says_so(tmp_path, capsys):
    parameters = learn()
    progress = run(RECIPE, parameters, losses(parameters), tmp_path / "line.pt")
    assert progress.step == 40
    assert [at["step"] for at in progress.history] == [10, 20, 30, 40]
    assert progress.history[-1]["fit"] < progress.history[0]["fit"] / 2
    assert "line 40/40" in capsys.readouterr().out
    assert not parameters["slope"].requires_grad


def test_a_stage_that_was_killed_goes_on_to_the_same_end(tmp_path):
    whole = learn()
    run(RECIPE, whole, losses(whole), tmp_path / "whole.pt")
    killed = learn()
    with pytest.raises(Killed):
        run(RECIPE, killed, losses(killed, until=25), tmp_path / "killed.pt")
    resumed = learn()
    progress = run(RECIPE, resumed, losses(resumed), tmp_path / "killed.pt")
    assert progress.step == 40
    assert torch.equal(resumed["slope"], whole["slope"])


def test_a_finished_stage_is_not_trained_again(tmp_path):
    parameters = learn()
    run(RECIPE, parameters, losses(parameters), tmp_path / "line.pt")
    again = learn()
    progress = run(RECIPE, again, losses(again, until=40), tmp_path / "line.pt")
    assert progress.step == 40
    assert torch.equal(again["slope"], parameters["slope"])


def test_time_ends_a_stage_too(tmp_path):
    parameters = learn()
    progress = run(replace(RECIPE, minutes=1e-9), parameters, losses(parameters), tmp_path / "line.pt")
    assert progress.step == 1

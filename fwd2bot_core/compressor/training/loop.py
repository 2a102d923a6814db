"""One stage of training: steps with a bounded time, a schedule, progress and checkpoints.

Killed at any point, it goes on from its last checkpoint to the same end, bit for bit, as long as its losses
depend on the step alone and its length on steps and not on minutes.
Knows optimisers and files of state. Knows nothing of what is learned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from fwd2bot_core.compressor.training import checkpoint as checkpoints
from fwd2bot_core.compressor.training.masters import Masters
from fwd2bot_core.compressor.training.stopping import Stop, stoppable
from fwd2bot_core.compressor.training.team import ALONE, Team
from fwd2bot_core.errors import TrainingFailed, TrainingStopped

Losses = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast a stage learns. ``minutes`` may be infinite."""

    name: str
    steps: int
    minutes: float
    rate: float
    batch: int
    weight_decay: float = 0.01
    warm_up: float = 0.03
    every: int = 50  # steps between progress lines
    save_every: float = 60.0  # seconds between checkpoints


@dataclass(slots=True)
class Progress:
    """Where a stage stands; kept in its checkpoint."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class Watcher:
    """Who is told how a stage goes; this one prints a line now and then."""

    def began(self, recipe: Recipe, progress: Progress) -> None:
        """Before the first step of this process: ``progress`` is the checkpoint's, or new."""

    def stepped(self, recipe: Recipe, progress: Progress) -> None:
        """After each step."""

    def reported(self, recipe: Recipe, progress: Progress, values: Mapping[str, float]) -> None:
        """Each ``recipe.every`` steps, with the values of the last one."""
        said = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        print(f"{recipe.name} {progress.step}/{recipe.steps}  {progress.seconds:.0f} s  {said}", flush=True)


def run(
    recipe: Recipe,
    learn: Mapping[str, nn.Parameter],
    losses: Callable[[int], Losses],
    checkpoint: Path,
    *,
    watcher: Watcher | None = None,
    own_backward: bool = False,
    rates: Mapping[str, float] | None = None,
    team: Team = ALONE,
) -> Progress:
    """Train ``learn`` on the sum of ``losses(step)`` until steps or minutes are used up; resumes.

    ``own_backward``: ``losses`` has left the gradients in the parameters itself. ``rates``: what to multiply
    the rate with, by parameter. Raises ``TrainingFailed`` for a loss or gradient that is no number, and
    ``TrainingStopped``, with everything saved, after an interrupt.
    """
    for p in learn.values():
        p.requires_grad_(True)
    masters = Masters(learn)
    optimizer = _optimizer(recipe, masters.parameters, rates or {})
    progress = Progress(**checkpoints.resume(checkpoint, masters.parameters, optimizer))
    masters.write_back()
    stage = _Stage(recipe, masters, optimizer, progress, watcher or Watcher(), own_backward)
    with stoppable() as stop:
        stage.run(losses, checkpoint, stop, team)
    for p in learn.values():
        p.requires_grad_(False)
    return progress


def _optimizer(
    recipe: Recipe, parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float]
) -> torch.optim.Optimizer:
    groups: dict[float, list[nn.Parameter]] = {}
    for name, p in parameters.items():
        groups.setdefault(rates.get(name, 1.0), []).append(p)
    return torch.optim.AdamW(
        [{"params": found, "times": times} for times, found in groups.items()],
        lr=recipe.rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=all(p.is_cuda for p in parameters.values()),
    )


@dataclass(slots=True)
class _Stage:
    recipe: Recipe
    masters: Masters
    optimizer: torch.optim.Optimizer
    progress: Progress
    watcher: Watcher
    own_backward: bool

    def run(self, losses: Callable[[int], Losses], checkpoint: Path, stop: Stop, team: Team) -> None:
        progress = self.progress
        began, saved = time.monotonic() - progress.seconds, time.monotonic()
        self.watcher.began(self.recipe, progress)
        stopped = False
        while not stopped and (done := _done(self.recipe, progress)) < 1:
            self._step(losses, done)
            seconds, stopped = team.agree(time.monotonic() - began, stop.asked)
            progress.step, progress.seconds = progress.step + 1, seconds
            self.watcher.stepped(self.recipe, progress)
            if time.monotonic() - saved > self.recipe.save_every and team.leads:
                self._save(checkpoint)
                saved = time.monotonic()
        if team.leads:
            self._save(checkpoint)
        if stopped and _done(self.recipe, progress) < 1:
            raise TrainingStopped(f"{self.recipe.name} is stopped after step {progress.step} and saved")

    def _step(self, losses: Callable[[int], Losses], done: float) -> None:
        """One step; nothing is changed by one whose losses or gradients are no numbers."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * group.get("times", 1.0) * _schedule(done, self.recipe.warm_up)
        self.masters.forget_gradients()
        terms = losses(self.progress.step)
        together = torch.stack([value.detach().float() for value in terms.values()])
        values = dict(zip(terms, together.tolist(), strict=True))  # a device is waited for once
        self._demand_numbers(values)
        if not self.own_backward:
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        self.masters.take_gradients()
        norm = torch.nn.utils.clip_grad_norm_(list(self.masters.parameters.values()), 1.0)
        self._demand_numbers({"the gradients' norm": float(norm)})
        self.optimizer.step()
        self.masters.write_back()
        if (self.progress.step + 1) % self.recipe.every == 0:
            self._report(values)

    def _report(self, values: Mapping[str, float]) -> None:
        at = Progress(self.progress.step + 1, self.progress.seconds, self.progress.history)
        self.progress.history.append({"step": at.step, **values})
        self.watcher.reported(self.recipe, at, values)

    def _demand_numbers(self, values: Mapping[str, float]) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingFailed(
                f"{self.recipe.name}: {wrong[0]} is {values[wrong[0]]} at step {self.progress.step + 1}; the last "
                "checkpoint is whole: lower the rate, or look at what this step was given"
            )

    def _save(self, checkpoint: Path) -> None:
        p = self.progress
        state = {"step": p.step, "seconds": p.seconds, "history": p.history}
        checkpoints.save(checkpoint, self.masters.parameters, self.optimizer, state)


def _done(recipe: Recipe, progress: Progress) -> float:
    """The used share of the stage, in [0, 1]: of its steps or of its minutes, whichever is more."""
    return max(progress.step / recipe.steps, progress.seconds / (60 * recipe.minutes))


def _schedule(done: float, warm_up: float) -> float:
    """Linear up, cosine down to one hundredth."""
    risen = min(done / warm_up + 0.01, 1.0) if warm_up else 1.0
    return risen * (0.505 + 0.495 * math.cos(math.pi * min(done, 1.0)))

"""One stage of training: steps with a bounded time, a schedule, progress lines and checkpoints.

Knows optimisers and files of state. Knows nothing of what is learned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

Losses = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast a stage learns."""

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


def run(
    recipe: Recipe, learn: Mapping[str, nn.Parameter], losses: Callable[[int], Losses], checkpoint: Path
) -> Progress:
    """Train ``learn`` on the sum of ``losses(step)`` until steps or minutes are used up; resumes."""
    optimizer = torch.optim.AdamW(
        list(learn.values()), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    progress = _resume(checkpoint, learn, optimizer)
    for p in learn.values():
        p.requires_grad_(True)
    began, saved = time.monotonic() - progress.seconds, time.monotonic()
    while (done := _done(recipe, progress)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * _schedule(done, recipe.warm_up)
        values = _step(optimizer, learn, losses(progress.step))
        progress.step += 1
        progress.seconds = time.monotonic() - began
        if progress.step % recipe.every == 0:
            _say(recipe, progress, values)
        if time.monotonic() - saved > recipe.save_every:
            _save(checkpoint, learn, optimizer, progress)
            saved = time.monotonic()
    _save(checkpoint, learn, optimizer, progress)
    for p in learn.values():
        p.requires_grad_(False)
    return progress


def _step(
    optimizer: torch.optim.Optimizer, learn: Mapping[str, nn.Parameter], terms: Losses
) -> dict[str, float]:
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(list(learn.values()), 1.0)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _done(recipe: Recipe, progress: Progress) -> float:
    """The used share of the stage, in [0, 1]: of its steps or of its minutes, whichever is more."""
    return max(progress.step / recipe.steps, progress.seconds / (60 * recipe.minutes))


def _schedule(done: float, warm_up: float) -> float:
    """Linear up, cosine down to one hundredth."""
    return min(done / warm_up + 0.01, 1.0) * (0.505 + 0.495 * math.cos(math.pi * min(done, 1.0)))


def _say(recipe: Recipe, progress: Progress, values: Mapping[str, float]) -> None:
    progress.history.append({"step": progress.step, **values})
    said = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    print(f"{recipe.name} {progress.step}/{recipe.steps}  {progress.seconds:.0f} s  {said}", flush=True)


def _save(
    checkpoint: Path, learn: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    state: dict[str, Any] = {
        "parameters": {name: p.detach() for name, p in learn.items()},
        "optimizer": optimizer.state_dict(),
        "progress": {"step": progress.step, "seconds": progress.seconds, "history": progress.history},
    }
    partial = checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(checkpoint)


def _resume(
    checkpoint: Path, learn: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Progress:
    if not checkpoint.exists():
        return Progress()
    state = torch.load(checkpoint, weights_only=True)
    with torch.no_grad():
        for name, p in learn.items():
            p.copy_(state["parameters"][name])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])

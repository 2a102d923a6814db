"""One training from its settings to a bundle; stopped at any point, it goes on when it is called again.

    output/run.json       the settings, which a run may not change     output/log.jsonl    losses, a line a report
    output/state.pt       the checkpoint                               output/bundle/      the result

Knows the order of things. Knows nothing of how each is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fwd2bot_core.compressor.training import record, start
from fwd2bot_core.compressor.training.bench import Bench, prepare
from fwd2bot_core.compressor.training.chunks import Cutter
from fwd2bot_core.compressor.training.config import TrainingConfig
from fwd2bot_core.compressor.training.device import enough_memory
from fwd2bot_core.compressor.training.drawing import Drawer, Drawn
from fwd2bot_core.compressor.training.loop import Losses, Progress, Recipe, Watcher, run
from fwd2bot_core.compressor.training.objective import Heat, Objective, Weights
from fwd2bot_core.compressor.training.publish import publish
from fwd2bot_core.compressor.training.team import Team, join
from fwd2bot_core.errors import TrainingFailed, TrainingStopped

STATE, BUNDLE = "state.pt", "bundle"


class Screen(Watcher):
    """Who is told how a training goes, beside its steps."""

    def noted(self, note: str) -> None:
        """Something that one should know, in a sentence."""
        print(note, flush=True)

    def examined(self, done: int, total: int) -> None:
        """Questions of the held-out data, after the last step."""


@dataclass(frozen=True, slots=True)
class Trained:
    bundle: Path
    figures: dict[str, Any]


def train(config: TrainingConfig, screen: Screen | None = None) -> Trained | None:
    """Train as ``config`` says; returns the bundle, or None in a process of a team that does not lead it.

    Raises ``SettingsError`` or ``UsageError`` for what the caller can mend, ``TrainingFailed``, and
    ``TrainingStopped`` after an interrupt; calling it again goes on from the last checkpoint.
    """
    team = join(config.training.device)
    try:
        with enough_memory():
            return _train(config, team, screen or Screen())
    finally:
        team.leave()


def _train(config: TrainingConfig, team: Team, screen: Screen) -> Trained | None:
    bench = prepare(config, team, screen.noted)
    try:
        progress = _learn(bench, screen)
        team.wait()
        return _publish(bench, progress, screen) if team.leads else None
    except TrainingStopped as stopped:
        raise TrainingStopped(f"{stopped} in {config.output}; run the same command again to go on") from None
    finally:
        bench.images.close()


def _learn(bench: Bench, screen: Screen) -> Progress:
    training, losses = bench.config.training, bench.config.losses
    net = bench.compressor.net
    heat = Heat(losses.temperature).to(bench.device)
    learn: dict[str, nn.Parameter] = dict(net.own_parameters())
    heat.requires_grad_(losses.learn_temperature)
    if losses.learn_temperature and losses.contrast:
        learn["temperature"] = heat.log
    moved = start.projector(net) if "projector" in training.train else {}
    if training.gradient_checkpointing:
        start.checkpoint_gradients(net)
    objective = Objective(
        net,
        heat,
        lengths=bench.lengths,
        weights=Weights(losses.answers, losses.contrast),
        learn=[*learn.values(), *moved.values()],
        see=bool(moved),
        view=bench.compressor.view,
        team=bench.team,
    )
    progress = run(
        _recipe(bench.config),
        {**learn, **moved},
        _Steps(bench, objective),
        bench.config.output / STATE,
        watcher=record.Several(record.Log(bench.config.output), screen)
        if bench.team.leads
        else record.Several(),
        own_backward=True,
        rates=dict.fromkeys(moved, training.projector_rate / training.rate),
        team=bench.team,
    )
    net.eval()
    return progress


def _recipe(config: TrainingConfig) -> Recipe:
    training = config.training
    return Recipe(
        config.name,
        steps=training.steps,
        minutes=training.minutes or float("inf"),
        rate=training.rate,
        batch=training.batch,
        weight_decay=training.weight_decay,
        warm_up=training.warm_up,
        every=training.report_every,
        save_every=training.checkpoint_seconds,
    )


class _Steps:
    """The losses of a step by its number: draw, read, cut, compute; the next step's images are read meanwhile."""

    def __init__(self, bench: Bench, objective: Objective) -> None:
        training, losses = bench.config.training, bench.config.losses
        compressor = bench.compressor
        self._team, self._images, self._objective = bench.team, bench.images, objective
        self._seed = training.seed
        self._drawer = Drawer(
            bench.items,
            batch=training.batch if losses.answers else 0,
            compared=training.compared if losses.contrast else 0,
            questions=training.questions,
            lengths=bench.lengths,
            seed=training.seed,
        )
        self._cutter = Cutter(
            lambda images: start.look(compressor, images),
            bench.wording,
            size=training.chunk or 0,
            device=torch.device(bench.device),
        )

    def __call__(self, step: int) -> Losses:
        drawn = self._draw(step)
        found = self._images.get([one.item.path for one in drawn])
        self._images.ahead([one.item.path for one in self._draw(step + 1)])
        pairs = [(one, image) for one, image in zip(drawn, found, strict=True) if image is not None]
        if not pairs:
            raise TrainingFailed(f"none of the images of step {step + 1} can be used: look at the data")
        chunks = self._cutter.cut([one for one, _ in pairs], [image for _, image in pairs])
        return self._objective.step(chunks, dice=((self._seed << 40) + (step << 12)) % 2**63)

    def _draw(self, step: int) -> list[Drawn]:
        return self._drawer.step(step, self._team.rank, self._team.size)


def _publish(bench: Bench, progress: Progress, screen: Screen) -> Trained:
    config, training = bench.config, bench.config.training
    folder = config.output / BUNDLE
    figures = publish(
        bench.compressor,
        folder,
        held_out=bench.held_out,
        images=bench.images,
        about=bench.about(progress),
        history=progress.history,
        limit=training.evaluate,
        told=screen.examined,
    )
    return Trained(folder, figures)

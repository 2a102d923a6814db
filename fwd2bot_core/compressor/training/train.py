"""One training from its settings to a bundle; stopped at any point, it goes on when it is called again.

    output/run.json       the settings, which a run may not change     output/log.jsonl    losses, a line a report
    output/state.pt       the checkpoint                               output/bundle/      the result

Knows the order of things. Knows nothing of how each is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fwd2bot_core.compressor import bundle
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.training import dataset, provenance, record, start
from fwd2bot_core.compressor.training.chunks import Cutter
from fwd2bot_core.compressor.training.config import TrainingConfig
from fwd2bot_core.compressor.training.dataset import Item
from fwd2bot_core.compressor.training.device import enough_memory, tried
from fwd2bot_core.compressor.training.drawing import Drawer, Drawn
from fwd2bot_core.compressor.training.images import Images
from fwd2bot_core.compressor.training.loop import Losses, Progress, Recipe, Watcher, run
from fwd2bot_core.compressor.training.objective import Heat, Objective, Weights
from fwd2bot_core.compressor.training.publish import publish
from fwd2bot_core.compressor.training.team import Team, join
from fwd2bot_core.compressor.training.wording import Wording
from fwd2bot_core.errors import TrainingFailed, TrainingStopped, UsageError

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
    bench = _prepare(config, team, screen)
    try:
        progress = _learn(bench, screen)
        team.wait()
        return _publish(bench, progress, screen) if team.leads else None
    except TrainingStopped as stopped:
        raise TrainingStopped(f"{stopped} in {config.output}; run the same command again to go on") from None
    finally:
        bench.images.close()


@dataclass(frozen=True, slots=True)
class _Bench:
    config: TrainingConfig
    team: Team
    device: str
    compressor: Fwd2BotCompressor
    items: Sequence[Item]
    held_out: Sequence[Item]
    images: Images
    wording: Wording
    lengths: tuple[int, ...]


def _prepare(config: TrainingConfig, team: Team, screen: Screen) -> _Bench:
    training, data = config.training, config.data
    shared = team.size > 1 and training.device == "cuda"
    device = tried(f"cuda:{team.local}" if shared else training.device)
    items, held_out = _items(config)
    compressor = start.begin(config, device)
    net = compressor.net
    wording = Wording(
        compressor.tokenizer,
        compressor.method,
        bos=net.lvlm.bos,
        eos=net.lvlm.eos,
        caption_tokens=config.losses.caption_tokens,
    )
    strange = wording.check([*items, *held_out])
    if team.leads:
        record.claim(config.output, _identity(config, team))
        _note(config, items, strange.most_common(5), screen)
        origin = config.output / "origin.json"
        provenance.record(origin, seed=training.seed, threads=torch.get_num_threads())
    images = Images(
        compressor.prepare, threads=data.threads, cache_bytes=data.cache_mb << 20, limit=data.unreadable
    )
    lengths = (compressor.method.k, *compressor.method.trained_k)
    return _Bench(config, team, device, compressor, items, held_out, images, wording, lengths)


def _items(config: TrainingConfig) -> tuple[list[Item], list[Item]]:
    """Images for training and held-out ones, which have none in common."""
    data = config.data
    items = dataset.read(data.train, ignore=data.ignore)
    if not data.validation:
        return dataset.split(items, data.held_out, config.training.seed)
    held_out = dataset.read(data.validation, ignore=data.ignore)
    both = {item.path.resolve() for item in items} & {item.path.resolve() for item in held_out}
    if both:
        raise UsageError(f"{min(both)} is in data.train and in data.validation: figures would be too good")
    return items, held_out


def _identity(config: TrainingConfig, team: Team) -> dict[str, Any]:
    data = config.data
    return {
        **config.model_dump(mode="json", exclude={"output"}),
        "base_fingerprint": _fingerprint(config),
        "data_sha256": dataset.digest([*data.train, *data.validation]),
        "processes": team.size,
    }


def _fingerprint(config: TrainingConfig) -> str:
    """The base's, if it is a bundle."""
    return bundle.read_spec(config.base).fingerprint if start.is_bundle(config.base) else ""


def _note(
    config: TrainingConfig, items: Sequence[Item], strange: Sequence[tuple[str, int]], screen: Screen
) -> None:
    if strange:
        words = ", ".join(f"{word!r} ({count:,} times)" for word, count in strange)
        screen.noted(f"words that the base model does not know, and cannot learn here: {words}")
    if config.losses.contrast and not any(item.captions for item in items):
        screen.noted("no image has a caption: there is no contrastive loss, and search will not improve")
    if config.losses.answers and not any(item.questions for item in items):
        screen.noted("no image has a question: there is no loss on answers")


def _learn(bench: _Bench, screen: Screen) -> Progress:
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

    def __init__(self, bench: _Bench, objective: Objective) -> None:
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
        return self._objective.step(chunks, dice=(self._seed << 40) + (step << 12))

    def _draw(self, step: int) -> list[Drawn]:
        return self._drawer.step(step, self._team.rank, self._team.size)


def _publish(bench: _Bench, progress: Progress, screen: Screen) -> Trained:
    config, training = bench.config, bench.config.training
    about = {
        "origin": json.loads((config.output / "origin.json").read_text()),
        "training": {
            "base": Path(config.base).name,
            "base_fingerprint": _fingerprint(config),
            "seed": training.seed,
            "steps": progress.step,
            "of": training.steps,
            "seconds": round(progress.seconds),
            "batch": training.batch * bench.team.size,
            "compared": training.compared * bench.team.size,
            "processes": bench.team.size,
            "learned": training.train,
            "view": bench.compressor.view.as_json(),
            "losses": config.losses.model_dump(),
        },
        "data": _about_data(bench),
    }
    folder = config.output / BUNDLE
    figures = publish(
        bench.compressor,
        folder,
        held_out=bench.held_out,
        images=bench.images,
        about=about,
        history=progress.history,
        limit=training.evaluate,
        told=screen.examined,
    )
    return Trained(folder, figures)


def _about_data(bench: _Bench) -> dict[str, Any]:
    data = bench.config.data
    return {
        "files": [Path(name).name for name in (*data.train, *data.validation)],
        "sha256": dataset.digest([*data.train, *data.validation]),
        "images": len(bench.items),
        "questions": sum(len(item.questions) for item in bench.items),
        "captions": sum(len(item.captions) for item in bench.items),
        "held_out": len(bench.held_out),
        "unreadable": {path.name: why for path, why in bench.images.unreadable.items()},
    }

"""What one training works on: the compressor, the images, the words; and what it can tell of itself.

Knows how to get them from the settings. Knows nothing of steps or losses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fwd2bot_core.compressor import bundle
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.training import dataset, provenance, record, start
from fwd2bot_core.compressor.training.config import TrainingConfig
from fwd2bot_core.compressor.training.dataset import Item
from fwd2bot_core.compressor.training.device import tried
from fwd2bot_core.compressor.training.images import Images
from fwd2bot_core.compressor.training.loop import Progress
from fwd2bot_core.compressor.training.team import Team
from fwd2bot_core.compressor.training.wording import Wording
from fwd2bot_core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Bench:
    """A training's settings, processes, model and images."""

    config: TrainingConfig
    team: Team
    device: str
    compressor: Fwd2BotCompressor
    items: Sequence[Item]
    held_out: Sequence[Item]
    images: Images
    wording: Wording
    lengths: tuple[int, ...]

    def about(self, progress: Progress) -> dict[str, Any]:
        """Of what, from what, how long and where: for a bundle's figures and card."""
        config, training = self.config, self.config.training
        return {
            "origin": json.loads((config.output / "origin.json").read_text()),
            "training": {
                "base": Path(config.base).name,
                "base_fingerprint": fingerprint(config),
                "seed": training.seed,
                "steps": progress.step,
                "of": training.steps,
                "seconds": round(progress.seconds),
                "batch": training.batch * self.team.size,
                "compared": training.compared * self.team.size,
                "processes": self.team.size,
                "learned": training.train,
                "view": self.compressor.view.as_json(),
                "losses": config.losses.model_dump(),
            },
            "data": self._about_data(),
        }

    def _about_data(self) -> dict[str, Any]:
        data = self.config.data
        return {
            "files": [Path(name).name for name in (*data.train, *data.validation)],
            "sha256": dataset.digest([*data.train, *data.validation]),
            "images": len(self.items),
            "questions": sum(len(item.questions) for item in self.items),
            "captions": sum(len(item.captions) for item in self.items),
            "held_out": len(self.held_out),
            "unreadable": {path.name: why for path, why in self.images.unreadable.items()},
        }


def prepare(config: TrainingConfig, team: Team, noted: Callable[[str], None]) -> Bench:
    """Load and check everything; ``noted`` hears what one should know. Raises as ``train.train`` does."""
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
        for note in _notes(config, items, strange.most_common(5)):
            noted(note)
        origin = config.output / "origin.json"
        provenance.record(origin, seed=training.seed, threads=torch.get_num_threads())
    images = Images(
        compressor.prepare, threads=data.threads, cache_bytes=data.cache_mb << 20, limit=data.unreadable
    )
    lengths = (compressor.method.k, *compressor.method.trained_k)
    return Bench(config, team, device, compressor, items, held_out, images, wording, lengths)


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
        "base_fingerprint": fingerprint(config),
        "data_sha256": dataset.digest([*data.train, *data.validation]),
        "processes": team.size,
    }


def fingerprint(config: TrainingConfig) -> str:
    """The base's, if it is a bundle."""
    return bundle.read_spec(config.base).fingerprint if start.is_bundle(config.base) else ""


def _notes(
    config: TrainingConfig, items: Sequence[Item], strange: Sequence[tuple[str, int]]
) -> Iterator[str]:
    if strange:
        words = ", ".join(f"{word!r} ({count:,} times)" for word, count in strange)
        yield f"words that the base model does not know, and cannot learn here: {words}"
    if config.losses.contrast and not any(item.captions for item in items):
        yield "no image has a caption: there is no contrastive loss, and search will not improve"
    if config.losses.answers and not any(item.questions for item in items):
        yield "no image has a question: there is no loss on answers"

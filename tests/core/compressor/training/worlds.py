"""A tiny model and tiny data with questions and captions, for tests of training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.training import dataset, start
from fwd2bot_core.compressor.training.chunks import Chunk, Cutter
from fwd2bot_core.compressor.training.dataset import Item
from fwd2bot_core.compressor.training.drawing import Drawer
from fwd2bot_core.compressor.training.wording import Wording
from tests.core.compressor import models

METHOD = replace(models.METHOD, trained_k=(1,), merged=False)
PLACES = ("top left", "top right", "bottom left", "bottom right")
NUMBERS = ("zero", "one", "two", "three")


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    """Two questions about each of ``count`` images, and a caption; every fourth caption is the same."""
    made = []
    for i in range(count):
        image = f"images/{i}.png"
        made.append(
            {"image": image, "question": "how many items ?", "answer": NUMBERS[i % 4], "kind": "count"}
        )
        made.append(
            {"image": image, "question": "what is in the top left ?", "answer": "bag", "kind": "cell"}
        )
        made.append({"image": image, "caption": f"{PLACES[i % 4]} bag", **more})
    return made


def write(folder: Path, count: int, **more: Any) -> Path:
    """Images and their ``data.jsonl``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / "images" / f"{i}.png").write_bytes(models.image(i))
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(count, **more)))
    return data


def compressor(seed: int = 0, method=METHOD) -> Fwd2BotCompressor:
    return Fwd2BotCompressor(models.net(method, seed=seed), models.words(), method, start.UNFINISHED)


def wording(made: Fwd2BotCompressor) -> Wording:
    return Wording(made.tokenizer, made.method, bos=1, eos=[2], caption_tokens=8)


def chunks(
    made: Fwd2BotCompressor, items: list[Item], size: int = 0, *, rank: int = 0, team: int = 1, batch: int = 4
) -> list[Chunk]:
    """One process's part of the first step: ``batch`` images asked about, six told apart."""
    drawer = Drawer(items, batch=batch // team, compared=6 // team, questions=2, lengths=(3, 1), seed=0)
    drawn = drawer.step(0, rank, team)
    images = [made.prepare(one.item.path.read_bytes()) for one in drawn]
    cutter = Cutter(lambda some: start.look(made, some), wording(made), size=size, device=torch.device("cpu"))
    return cutter.cut(drawn, images)


def items(folder: Path, count: int = 8, **more: Any) -> list[Item]:
    return dataset.read([str(write(folder, count, **more))])


def gradients(made: Fwd2BotCompressor) -> dict[str, torch.Tensor]:
    return {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in made.net.own_parameters().items()
    }

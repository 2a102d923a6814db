"""A nano compressor that has learned nothing but to stop talking: for tests of what is measured, not of how well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.nano import design, publish
from fwd2bot_core.compressor.training.loop import Progress, Recipe

STAGES = {
    Recipe("tower", steps=3, minutes=1, rate=1e-3, batch=4): Progress(2, 61.0, [{"step": 1, "cell": 0.5}]),
    Recipe("adapters", steps=3, minutes=1, rate=1e-3, batch=4): Progress(3, 30.0, [{"step": 1, "easy": 0.5}]),
}
ORIGIN: dict[str, Any] = {
    "commit": "0123456789ab",
    "continued_at": ["ba9876543210"],
    "seed": 5,
    "threads": 1,
    "machine": "1 CPU core",
    "python": "3",
    "torch": "2",
    "transformers": "5",
    "began": "2026-11-25T00:00:00+00:00",
}


def net(seed: int = 0) -> DoubleForward:
    """It says a few words or none: its end is either the loudest of all words or the least likely."""
    tokenizer = design.tokenizer()
    made = DoubleForward(
        design.model(tokenizer.get_vocab_size(), seed), design.METHOD, script(tokenizer, design.METHOD)
    )
    with torch.no_grad():
        words = made.lvlm.base.lm_head.weight
        for word, row in tokenizer.get_vocab().items():
            if word == "<eos>":
                words[row].mul_(4)
            elif word in design.SPECIAL or word.startswith("##"):
                words[row].zero_()  # never said: neither is read as it was written
        for parameter in made.own_parameters().values():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return made.requires_grad_(False).eval()


def saved(folder: Path) -> Path:
    """The bundle in ``folder``, published as far as that goes without measuring."""
    publish.save(net(), STAGES, folder, ORIGIN)
    return folder

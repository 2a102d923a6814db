"""What a run learns by: the losses of the bundle's own training, on the same pictures and questions for each method.

Knows losses and lessons. Knows nothing of how a method works, of optimisers or of files.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fwd2bot_core.compressor.nano import trays
from fwd2bot_core.compressor.nano.lessons import Bench, captioned, pictured, questioned
from fwd2bot_core.compressor.nano.stages import answer_losses, contrast_loss, half
from fwd2bot_core.compressor.training.course import Course, Lesson
from tests.prove.rivals.methods import Reading, pooled
from tests.prove.rivals.plan import Run

NINE = len(trays.CELLS)
DICE = 3  # the stage whose pictures these are: those of the shipped adapters, under another seed


def lessons(bench: Bench, method: Reading, run: Run, lead: float) -> Course:
    """The parameters that ``run`` learns and its losses at each step.

    A method that writes tokens of its own is led for a share ``lead`` of the steps, as the bundle is: nine of them (or
    as many as it serves at most) are drawn, ever less, to the means of as many squares of visual tokens. In the first
    half of that, each step is of so many tokens.
    """
    bench = replace(bench, seed=bench.seed + run.seed)
    device = method.net.summary_tokens.device
    first = NINE if NINE in run.serves else max(run.serves)
    options = {k: {name: value.to(device) for name, value in method.options(k).items()} for k in run.serves}
    heat = nn.Parameter(torch.tensor(float(np.log(1 / 0.07)), device=device))

    def prepare(step: int) -> Lesson:
        batch = bench.batch(DICE, step, run.batch, sparse=True)
        k, leads = int(batch.rng.choice(run.serves)), 0.0
        if method.led and step < lead * run.steps:
            leads = 1 - step / (lead * run.steps)
            k = first if leads > 0.5 else k
        tensors = pictured(batch)
        tensors |= questioned(bench.words, batch) if run.answers else {}
        tensors |= captioned(bench.words, batch, falsehoods=1) if run.contrast else {}
        return Lesson((k, leads > 0 and k == first), tensors | {"lead": torch.tensor(leads)})

    def found(lesson: Lesson) -> dict[str, torch.Tensor]:
        k, leads = lesson.kind  # type: ignore[misc]
        said: dict[str, torch.Tensor] = {}
        with half(device):
            image = method.image(lesson["pixels"], k)
            if run.answers:
                said |= answer_losses(method.net, method.stage, image, lesson, options[k])
            if run.contrast:
                tokens = method.tokens(image[: len(lesson["cells"])], k)
                said["contrast"] = contrast_loss(method.net, tokens, lesson, torch.exp(-heat).clamp_min(0.02))
            if leads:
                apart = _apart(method.tokens(image, k), method.seen(lesson["pixels"]))
                said["lead"] = lesson["lead"] * apart
        return said

    return Course(method.learns() | ({"heat": heat} if run.contrast else {}), prepare, found)


def _apart(tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """How far tokens [B, k, d] are from the means of as many squares of visual tokens [B, 144, d], in [0, 2]."""
    wanted = pooled(seen.float(), tokens.shape[1])
    return (1 - F.cosine_similarity(tokens.float(), wanted, dim=-1)).mean()

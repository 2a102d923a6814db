"""What a run learns by: the losses of the bundle's own training, on the same pictures and questions for each method.

Knows losses and batches. Knows nothing of how a method works, of optimisers or of files.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from fwd2bot_core.compressor.nano.stages import Bench, Learnt, Terms, answer_losses, contrast_loss, half
from fwd2bot_core.compressor.training.loop import Losses
from tests.prove.rivals.methods import Reading
from tests.prove.rivals.plan import Run

DICE = 3  # the stage whose pictures these are: those of the shipped adapters, under another seed


def lessons(bench: Bench, method: Reading, run: Run, size: int) -> tuple[Learnt, Terms]:
    """The parameters that ``run`` learns and its losses at each step."""
    bench = replace(bench, seed=bench.seed + run.seed, net=method.net)
    options = {k: method.options(k) for k in run.serves}
    heat = nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))

    def terms(step: int) -> Losses:
        batch = bench.batch(DICE, step, size, sparse=True)
        k = int(batch.rng.choice(run.serves))
        found: dict[str, torch.Tensor] = {}
        with half():
            image = method.image(batch.pixels, k)
            if run.answers:
                found |= answer_losses(bench, method.stage, image, batch, options[k])
            if run.contrast:
                tokens = method.tokens(image[: len(batch.held)], k)
                found["contrast"] = contrast_loss(bench, tokens, batch, torch.exp(-heat).clamp_min(0.02))
        return found

    return method.learns() | ({"heat": heat} if run.contrast else {}), terms

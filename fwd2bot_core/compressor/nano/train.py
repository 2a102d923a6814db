"""How the nano bundle is made, from photos to a sealed bundle: one command, one seed.

    python -m fwd2bot_core.compressor.nano.train --work WORK --out BUNDLE [--device cuda]

    pool      tray pictures from the training split, the whole way through JPEG and preprocessing
    tower     the vision tower learns to say what lies in each compartment
    base      under the frozen tower, projector and language model learn to answer from all visual tokens
    adapters  everything frozen; pairs and summary tokens learn both passes, in one graph, with both losses
    refining  the same goes on, with harder captions

Each stage ends after its steps and continues from its checkpoint if it was stopped. What a stage learns is said in
``stages``. Knows nothing of how a compressor is used.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.nano import data, design, stages
from fwd2bot_core.compressor.nano.faster import made_faster
from fwd2bot_core.compressor.nano.lessons import Bench
from fwd2bot_core.compressor.training import provenance
from fwd2bot_core.compressor.training.course import Course, Graphed
from fwd2bot_core.compressor.training.device import tried
from fwd2bot_core.compressor.training.loop import Progress, Recipe, run

SEED = 20261125
PICTURES = 20_000
TOWER = Recipe("tower", steps=2400, minutes=60, rate=2e-3, batch=64, weight_decay=0.05)
BASE = Recipe("base", steps=2400, minutes=120, rate=2e-3, batch=32)
ADAPTERS = Recipe("adapters", steps=1500, minutes=120, rate=2e-3, batch=32, weight_decay=0.0)
REFINING = Recipe("refining", steps=3500, minutes=180, rate=1.5e-3, batch=32, weight_decay=0.0)
STAGES = (
    (TOWER, stages.tower),
    (BASE, stages.base),
    (ADAPTERS, stages.adapters),
    (REFINING, stages.refining),
)


def make_bench(work: Path, seed: int, pictures: int, device: str = "cpu") -> Bench:
    """The untrained network and what it learns from; the pool of pictures is kept in ``work``."""
    tokenizer = design.tokenizer()
    model = design.model(tokenizer.get_vocab_size(), seed)
    net = DoubleForward(model, design.METHOD, script(tokenizer, design.METHOD))
    net.requires_grad_(False).to(device)
    pool = _pool(work / "pool.npz", pictures, seed)
    return Bench(seed, data.Words(tokenizer), pool, data.easy("train"), net)


def _pool(path: Path, pictures: int, seed: int) -> data.Pool:
    if not path.exists():
        made = data.make_pool("train", pictures, seed, processes=os.cpu_count() or 1)
        np.savez(path, pixels=made.pixels, cells=made.cells)
    with np.load(path) as kept:
        return data.Pool(kept["pixels"], kept["cells"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the nano bundle.")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints go here; run again to continue")
    parser.add_argument("--out", type=Path, help="the bundle's folder; without it, only checkpoints are made")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cuda: some fifty times faster")
    parser.add_argument("--processes", type=int, default=6, help="that prepare lessons for a GPU")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.work.mkdir(parents=True, exist_ok=True)
    origin = provenance.record(chosen.work / "origin.json", seed=chosen.seed, threads=chosen.threads)
    bench = make_bench(chosen.work, chosen.seed, PICTURES, tried(chosen.device))
    done: dict[Recipe, Progress] = {}
    for recipe, stage in STAGES:
        course, checkpoint = stage(bench, recipe.batch), chosen.work / f"{recipe.name}.pt"
        with made_faster(bench.net):
            done[recipe] = learned(recipe, course, checkpoint, chosen.processes)
    if chosen.out is None:
        return
    from fwd2bot_core.compressor.nano.publish import publish

    publish(bench.net.cpu(), done, chosen.out, origin)


def learned(recipe: Recipe, course: Course, checkpoint: Path, processes: int) -> Progress:
    """One stage to its end, on the device where its parameters lie."""
    if course.device.type != "cuda":
        return run(recipe, course.learn, course.terms, checkpoint)
    graphed = Graphed(course, steps=recipe.steps, processes=processes)
    return run(recipe, course.learn, graphed, checkpoint, own_backward=True)


if __name__ == "__main__":
    main()

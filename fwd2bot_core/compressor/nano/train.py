"""How the nano bundle is made, from photos to a sealed bundle: one command, one seed.

    python -m fwd2bot_core.compressor.nano.train --work WORK --out BUNDLE

    pool      tray pictures from the training split, the whole way through JPEG and preprocessing
    tower     the vision tower learns to say, at each of its 64 tokens, what lies in that token's cell
    base      under the frozen tower, projector and language model learn to answer from all visual tokens, and
              each projected token to lie near the word for what is in its cell
    adapters  everything frozen; pairs and summary tokens learn both passes, in one graph, with both losses

Each stage ends after its steps or its minutes, whichever comes first, and continues from its checkpoint if it
was stopped. Batches depend on seed, stage and step alone. Knows nothing of how a compressor is used.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fwd2bot_core.compressor import losses
from fwd2bot_core.compressor.double_forward import DoubleForward, pool, script
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design
from fwd2bot_core.compressor.nano.trays import KINDS
from fwd2bot_core.compressor.training import provenance
from fwd2bot_core.compressor.training.loop import Losses, Progress, Recipe, run

SEED = 20261124
PICTURES = 30_000
TOWER = Recipe("tower", steps=2400, minutes=9, rate=2e-3, batch=128, weight_decay=0.05)
BASE = Recipe("base", steps=3000, minutes=14, rate=1.5e-3, batch=32)
ADAPTERS = Recipe("adapters", steps=1400, minutes=40, rate=2e-3, batch=64, weight_decay=0.0)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all stages share."""

    seed: int
    words: data.Words
    pool: data.Pool
    net: DoubleForward

    def batch(
        self, stage: int, step: int, size: int, *, sparse: bool = False
    ) -> tuple[data.Pool, torch.Tensor, np.random.Generator]:
        """The pictures of one step, as arrays and as a tensor, and the dice for its questions."""
        rng = np.random.default_rng([self.seed, stage, step])
        pictures = data.pictures(self.pool, size, rng, sparse=sparse)
        return pictures, torch.from_numpy(pictures.pixels), rng


def dense_loss(scores: torch.Tensor, cells: data.Ids) -> torch.Tensor:
    """Does each visual token say what lies in its cell? ``scores`` [B, 64, 11], nothing first, of [B, 4] cells."""
    half = np.arange(8) // 4
    cell = torch.from_numpy((2 * half[:, None] + half[None, :]).ravel())  # [64], the cell of each token
    labels = torch.from_numpy(cells + 1)[:, cell]  # [B, 64]
    return F.cross_entropy(scores.flatten(0, 1), labels.flatten())


def train_tower(bench: Bench, recipe: Recipe, checkpoint: Path) -> Progress:
    model = bench.net.lvlm.base.model
    head = nn.Linear(model.config.vision_config.hidden_size, len(KINDS) + 1)

    def terms(step: int) -> Losses:
        pictures, pixels, _ = bench.batch(1, step, recipe.batch)
        seen = model.vision_tower(bench.net.normalised(pixels)).last_hidden_state
        return {"dense": dense_loss(head(seen), pictures.cells)}

    learn = {f"tower.{n}": p for n, p in model.vision_tower.named_parameters()}
    return run(recipe, learn | {f"dense.head.{n}": p for n, p in head.named_parameters()}, terms, checkpoint)


def train_base(bench: Bench, recipe: Recipe, checkpoint: Path) -> Progress:
    net = bench.net
    options = _layout(len(net.before) + design.VISUAL)
    names = torch.tensor([bench.words.ids[word] for word in ("nothing", *KINDS)])

    def terms(step: int) -> Losses:
        pictures, pixels, rng = bench.batch(2, step, recipe.batch, sparse=True)
        visual = net.visual(pixels)
        named = dense_loss(visual @ net.lvlm.embed(names).T, pictures.cells)  # what makes searching learnable
        return {**_answer_losses(bench, Stage.BASE, visual, pictures.cells, rng, options), "named": named}

    model = net.lvlm.base
    frozen = {id(p) for p in model.model.vision_tower.parameters()}
    return run(recipe, {n: p for n, p in model.named_parameters() if id(p) not in frozen}, terms, checkpoint)


def train_adapters(bench: Bench, recipe: Recipe, checkpoint: Path) -> Progress:
    net = bench.net
    options = _layout(len(net.before) + design.METHOD.k)
    heat = nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))

    def terms(step: int) -> Losses:
        pictures, pixels, rng = bench.batch(3, step, recipe.batch, sparse=True)
        with torch.no_grad():
            visual = net.visual(pixels)
        tokens = net.summarise(visual)
        ids, mask, same = (torch.from_numpy(x) for x in bench.words.captions(pictures.cells))
        told_apart = losses.contrastive(
            pool(tokens),
            pool(net.summarise_text(ids, mask)),
            temperature=torch.exp(-heat).clamp_min(0.02),
            captions=same,
        )
        said = _answer_losses(bench, Stage.ANSWER, tokens, pictures.cells, rng, options)
        return {**said, "contrast": told_apart}

    return run(recipe, net.own_parameters() | {"heat": heat}, terms, checkpoint)


def _layout(head: int) -> dict[str, torch.Tensor]:
    mask, places = data.layout(head)
    return {
        "attention_mask": torch.from_numpy(mask)[None, None],
        "position_ids": torch.from_numpy(places)[None],
    }


def _answer_losses(
    bench: Bench,
    stage: Stage,
    image: torch.Tensor,
    cells: data.Ids,
    rng: np.random.Generator,
    options: dict[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """The autoregressive loss by kind of question; they share the image and do not see each other."""
    ids, labels, weights = (torch.from_numpy(x) for x in bench.words.packed(cells, rng))
    states = bench.net.lvlm.hidden(stage, bench.net.question(image, ids), **options)[:, -data.PACKED :]
    found: dict[str, torch.Tensor] = {}
    for (kinds, _), columns in zip(data.ASKED, data.blocks(), strict=True):
        asked = labels[:, columns] != losses.IGNORE
        said = bench.net.lvlm.logits(states[:, columns][asked])
        loss = losses.autoregressive(said, labels[:, columns][asked], weights[:, columns][asked])
        found[kinds[0]] = found.get(kinds[0], 0) + loss / len(data.ASKED)
    return found


def make_bench(work: Path, seed: int, pictures: int) -> Bench:
    tokenizer = design.tokenizer()
    model = design.model(tokenizer.get_vocab_size(), seed)
    net = DoubleForward(model, design.METHOD, script(tokenizer, design.METHOD))
    net.requires_grad_(False)
    return Bench(seed, data.Words(tokenizer), _pool(work / "pool.npz", pictures, seed), net)


def _pool(path: Path, pictures: int, seed: int) -> data.Pool:
    if not path.exists():
        made = data.make_pool("train", pictures, seed)
        np.savez(path, pixels=made.pixels, cells=made.cells)
    with np.load(path) as kept:
        return data.Pool(kept["pixels"], kept["cells"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the nano bundle.")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints go here; run again to continue")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.work.mkdir(parents=True, exist_ok=True)
    origin = provenance.record(chosen.work / "origin.json", seed=chosen.seed, threads=chosen.threads)
    bench = make_bench(chosen.work, chosen.seed, PICTURES)
    stages: dict[Recipe, Progress] = {}
    for stage, recipe in ((train_tower, TOWER), (train_base, BASE), (train_adapters, ADAPTERS)):
        stages[recipe] = stage(bench, recipe, chosen.work / f"{recipe.name}.pt")
    from fwd2bot_core.compressor.nano.publish import publish

    publish(bench.net, stages, chosen.out, origin)


if __name__ == "__main__":
    main()

"""What each stage of the nano bundle's training learns: its parameters and, for each step, its losses.

Batches depend on seed, stage and step alone. Knows the network and its data. Knows nothing of optimisers, files or
schedules (``training.loop``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fwd2bot_core.compressor import losses
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design, easy_vqa, questions, trays
from fwd2bot_core.compressor.training.loop import Losses

EASY = 4  # one picture of easy-VQA for so many trays
SHARES = {9: 0.4, 4: 0.3, 2: 0.15, 1: 0.15}  # of the steps that each number of summary tokens gets
LEAD = 400  # steps in which pass 1 is shown what pass 2 can read
LATER_SHARES = {9: 0.6, 4: 0.2, 2: 0.05, 1: 0.15}  # of the last stage
FACTS = {"kind": 12, "color": 8, "size": 2, "pose": 2, "state": 3, "digits": 30, "place": 9}
PER_CELL = design.GRID // trays.ROWS

Terms = Callable[[int], Losses]
Learnt = dict[str, nn.Parameter]


@dataclass(frozen=True)
class Batch:
    """One step's pictures [B, 3, 96, 96], trays first; the trays' facts; the others' questions; the step's dice."""

    pixels: torch.Tensor
    cells: data.Ids  # [trays, 9, 5]
    held: list[trays.Facts]
    easy: list[list[tuple[str, str]]]
    rng: np.random.Generator

    def asked(self) -> list[list[tuple[str, str]]]:
        return data.asked_of_trays(self.held, self.rng) + data.asked_of_easy(self.easy, self.rng)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all stages share."""

    seed: int
    words: data.Words
    pool: data.Pool
    easy: easy_vqa.Split
    net: DoubleForward

    def batch(self, stage: int, step: int, size: int, *, sparse: bool = False) -> Batch:
        rng = np.random.default_rng([self.seed, stage, step])
        drawn = data.pictures(self.pool, size, rng, sparse=sparse)
        more = rng.integers(0, len(self.easy.pixels), size // EASY)
        pixels = np.concatenate([drawn.pixels, data.shaded(self.easy.pixels[more], rng)])
        held = [data.facts(cells) for cells in drawn.cells]
        return Batch(torch.from_numpy(pixels), drawn.cells, held, [self.easy.asked[i] for i in more], rng)


def half() -> torch.autocast:
    """Matrix products in bfloat16, which many processors do several times faster."""
    return torch.autocast("cpu", torch.bfloat16)


def tower(bench: Bench, size: int) -> tuple[Learnt, Terms]:
    """The vision tower says what lies in each compartment, and which shape of which colour easy-VQA drew."""
    model = bench.net.lvlm.base.model
    width = model.config.vision_config.hidden_size
    facts, shape = nn.Linear(width, sum(FACTS.values())), nn.Linear(width, 11)
    heads = nn.ModuleDict({"facts": facts, "shape": shape})

    def terms(step: int) -> Losses:
        batch = bench.batch(1, step, size)
        with half():
            seen = model.vision_tower(bench.net.normalised(batch.pixels)).last_hidden_state.float()
        trays_seen, easy_seen = seen[: len(batch.cells)], seen[len(batch.cells) :].mean(1)
        at_tokens = fact_losses(facts(trays_seen), batch.cells[:, _cell_of_token()])
        at_cells = fact_losses(facts(_cell_means(trays_seen)), batch.cells)
        return {
            **{f"cell.{name}": value for name, value in at_cells.items() if name != "place"},
            "tokens": torch.stack(list(at_tokens.values())).sum() * 0.25,
            "easy": _shape_loss(shape(easy_seen), batch.easy),
        }

    learn = {f"tower.{n}": p for n, p in model.vision_tower.named_parameters()}
    return learn | {f"heads.{n}": p for n, p in heads.named_parameters()}, terms


def fact_losses(scores: torch.Tensor, cells: data.Ids) -> dict[str, torch.Tensor]:
    """Cross entropies of ``scores`` [B, N, all facts] against what is held there: ``cells`` [B, N, 5], in the order of
    compartments or of tokens."""
    held = torch.from_numpy(cells).flatten(0, 1)
    kind = held[:, 0]
    item, card = kind >= 0, kind == trays.CARD
    parts = dict(zip(FACTS, torch.split(scores.flatten(0, 1), list(FACTS.values()), -1), strict=True))
    grid = _cell_of_token() if cells.shape[1] == design.VISUAL else np.arange(len(trays.CELLS))
    found = {
        "kind": F.cross_entropy(parts["kind"], kind + 2),
        "place": F.cross_entropy(parts["place"], torch.from_numpy(grid).repeat(len(cells))),
    }
    for column, name in enumerate(("color", "size", "pose", "state"), 1):
        found[name] = F.cross_entropy(parts[name][item], held[item, column])
    digits = parts["digits"][card].view(-1, 3, 10)
    found["digits"] = F.cross_entropy(digits.flatten(0, 1), held[card, 1:4].flatten())
    return found


def _cell_of_token() -> data.Ids:
    """The compartment of each visual token [144]."""
    third = np.arange(design.GRID) // PER_CELL
    cells: data.Ids = (trays.COLUMNS * third[:, None] + third[None, :]).ravel()
    return cells


def _cell_means(seen: torch.Tensor) -> torch.Tensor:
    """The mean of each compartment's tokens [B, 9, width] of [B, 144, width]."""
    grid = seen.reshape(len(seen), trays.ROWS, PER_CELL, trays.COLUMNS, PER_CELL, -1)
    return grid.mean((2, 4)).flatten(1, 2)


def _shape_loss(scores: torch.Tensor, asked: Sequence[Sequence[tuple[str, str]]]) -> torch.Tensor:
    """Against the answers that name the picture's shape and colour, which nearly all pictures have; [B, 3 + 8]."""
    said = [{answer for _, answer in pairs} for pairs in asked]
    found = scores.new_zeros(())
    for names, part in zip((easy_vqa.SHAPES, easy_vqa.COLORS), torch.split(scores, [3, 8], -1), strict=True):
        named = [[i for i, name in enumerate(names) if name in answers] for answers in said]
        rows = [row for row, one in enumerate(named) if len(one) == 1]
        if rows:
            found = found + F.cross_entropy(part[rows], torch.tensor([named[row][0] for row in rows]))
    return found


def base(bench: Bench, size: int) -> tuple[Learnt, Terms]:
    """Under the frozen tower, projector and language model learn to answer from all visual tokens, and each projected
    token to lie near the words for what is in its compartment, which is what makes searching learnable."""
    net = bench.net
    options = options_after(len(net.before) + design.VISUAL)
    ids = {
        "kind": ("card", "nothing", *trays.KINDS),
        "color": trays.COLORS,
        "size": trays.SIZES,
        "pose": trays.POSES,
        "state": trays.STATES,
        "place": trays.CELLS,
    }
    words = {name: torch.tensor([bench.words.ids[word] for word in names]) for name, names in ids.items()}

    def terms(step: int) -> Losses:
        batch = bench.batch(2, step, size, sparse=True)
        with half():
            visual = net.visual(batch.pixels)
            said = answer_losses(bench, Stage.BASE, visual, batch, options)
        near = visual[: len(batch.cells)].float()
        scores = {name: near @ net.lvlm.embed(found).T for name, found in words.items()}
        none = near.new_zeros(*near.shape[:2], 1)
        every = torch.cat([scores.get(name, none.expand(-1, -1, n)) for name, n in FACTS.items()], -1)
        named = fact_losses(every, batch.cells[:, _cell_of_token()])
        return {**said, "named": torch.stack([named[name] for name in ids]).sum() * 0.25}

    frozen = {id(p) for p in net.lvlm.base.model.vision_tower.parameters()}
    return {n: p for n, p in net.lvlm.base.named_parameters() if id(p) not in frozen}, terms


def adapters(bench: Bench, size: int) -> tuple[Learnt, Terms]:
    """Everything frozen; pairs and summary tokens learn both passes, in one graph, with both losses.

    From nothing, pass 1 writes what pass 2 cannot read yet, and neither learns. So the summary tokens begin as the
    names of the compartments, and for the first ``LEAD`` steps each of the nine states is drawn, ever less, towards the
    mean of one compartment's visual tokens, which the model reads already. Shorter prefixes begin when half of that is
    over.
    """
    net = bench.net
    heat = nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))
    heads = {k: options_after(len(net.before) + k) for k in SHARES}
    with torch.no_grad():
        names = torch.tensor([bench.words.ids[name] for name in trays.CELLS])
        net.summary_tokens.copy_(net.lvlm.embed(names))

    def terms(step: int) -> Losses:
        batch = bench.batch(3, step, size, sparse=True)
        k = int(batch.rng.choice(list(SHARES), p=list(SHARES.values()))) if step > LEAD / 2 else max(SHARES)
        visual, tokens, found = _both_losses(bench, batch, k, heads[k], heat, falsehoods=1)
        lead = max(0.0, 1 - step / LEAD) if k == max(SHARES) else 0.0
        if lead:
            apart = 1 - F.cosine_similarity(tokens.float(), _cell_means(visual).float(), dim=-1)
            found["lead"] = apart.mean() * lead
        return found

    return net.own_parameters() | {"heat": heat}, terms


def refining(bench: Bench, size: int) -> tuple[Learnt, Terms]:
    """The same goes on without a lead: captions are told from three false ones each, and being told apart counts
    twice."""
    net = bench.net
    heat = nn.Parameter(torch.tensor(float(np.log(1 / 0.05))))
    heads = {k: options_after(len(net.before) + k) for k in LATER_SHARES}

    def terms(step: int) -> Losses:
        batch = bench.batch(4, step, size, sparse=True)
        k = int(batch.rng.choice(list(LATER_SHARES), p=list(LATER_SHARES.values())))
        _, _, found = _both_losses(bench, batch, k, heads[k], heat, falsehoods=3)
        return {**found, "contrast": found["contrast"] * 2}

    return net.own_parameters() | {"heat": heat}, terms


def _both_losses(
    bench: Bench,
    batch: Batch,
    k: int,
    options: dict[str, torch.Tensor],
    heat: torch.Tensor,
    *,
    falsehoods: int,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    """Visual tokens [B, 144, d], ``k`` summary tokens [B, k, d], and what both passes are taught by."""
    with half():
        with torch.no_grad():
            visual = bench.net.visual(batch.pixels)
        tokens = bench.net.summarise(visual, k)
        found = answer_losses(bench, Stage.ANSWER, tokens, batch, options)
        temperature = torch.exp(-heat).clamp_min(0.02)
        told = contrast_loss(bench, tokens[: len(batch.held)], batch, temperature, falsehoods)
    return visual, tokens, {**found, "contrast": told}


def contrast_loss(
    bench: Bench, tokens: torch.Tensor, batch: Batch, temperature: torch.Tensor, falsehoods: int = 1
) -> torch.Tensor:
    """Trays told apart by their captions [B, k, d], with so many false captions of each as further negatives."""
    captions = [questions.caption(facts, batch.rng) for facts in batch.held]
    false = [
        _false(said, facts, batch.rng)
        for said, facts in zip(captions, batch.held, strict=True)
        for _ in range(falsehoods)
    ]
    worded = [questions.worded(said) for said in (*captions, *false)]
    numbers: dict[str, int] = {}
    same = torch.tensor([numbers.setdefault(text, len(numbers)) for text in worded])
    ids, mask = (torch.from_numpy(x) for x in bench.words.captions(worded))
    texts = pool(bench.net.summarise_text(ids, mask, tokens.shape[1]))
    count = len(captions)
    return losses.contrastive(
        pool(tokens),
        texts[:count],
        temperature=temperature,
        captions=same[:count],
        negatives=texts[count:],
        negative_captions=same[count:],
    )


def _false(said: questions.Caption, facts: trays.Facts, rng: np.random.Generator) -> questions.Caption:
    """One of the three ways to say what is not so; adding always can."""
    for how in (*rng.permutation(questions.FALSEHOODS).tolist(), "add"):
        made = questions.false_caption(said, facts, rng, how, trays.TOLD_APART)
        if made is not None:
            return made
    return said


def options_after(head: int) -> dict[str, torch.Tensor]:
    """What the language model needs beside a packed sequence after ``head`` of image."""
    mask, places = data.layout(head)
    return {
        "attention_mask": torch.zeros(mask.shape).masked_fill(~torch.from_numpy(mask), -1e9)[None, None],
        "position_ids": torch.from_numpy(places)[None],
    }


def answer_losses(
    bench: Bench, stage: Stage, image: torch.Tensor, batch: Batch, options: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """The autoregressive loss by kind of question; they share the image and do not see each other."""
    ids, labels, weights = (torch.from_numpy(x) for x in bench.words.packed(batch.asked()))
    states = bench.net.lvlm.hidden(stage, bench.net.question(image, ids), **options)[:, -data.PACKED :]
    asked = labels != losses.IGNORE
    scores = bench.net.lvlm.logits(states[asked]).float()
    each = F.cross_entropy(scores, labels[asked], reduction="none") * weights[asked]
    blocks = torch.arange(data.PACKED).expand_as(labels)[asked] // data.BLOCK
    of_tray = (torch.arange(len(labels))[:, None].expand_as(labels) < len(batch.held))[asked]
    found = {"easy": each[~of_tray].sum() / len(labels)}
    for block, kinds in enumerate(data.ASKED):
        found["+".join(kinds)] = each[of_tray & (blocks == block)].sum() / len(labels)
    return {name: value / len(data.ASKED) * 2 for name, value in found.items()}

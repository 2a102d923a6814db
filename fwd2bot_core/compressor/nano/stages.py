"""What each stage of the nano bundle's training learns: its parameters and, for each step, its losses.

Knows the network and what a lesson holds. Knows nothing of optimisers, files or schedules (``training.loop``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fwd2bot_core.compressor import losses
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design, trays
from fwd2bot_core.compressor.nano.lessons import Bench, captioned, pictured, questioned, shapes_named
from fwd2bot_core.compressor.training.course import Course, Lesson

SHARES = {9: 0.4, 4: 0.3, 2: 0.15, 1: 0.15}  # of the steps that each number of summary tokens gets
LEAD = 400  # steps in which pass 1 is shown what pass 2 can read
LATER_SHARES = {9: 0.6, 4: 0.2, 2: 0.05, 1: 0.15}  # of the last stage
FACTS = {"kind": 12, "color": 8, "size": 2, "pose": 2, "state": 3, "digits": 30, "place": 9}
UNSEEN = -1e9  # added to a score that must not count
PER_CELL = design.GRID // trays.ROWS

Found = dict[str, torch.Tensor]
Dice = Callable[
    [int, np.random.Generator], tuple[int, float]
]  # step -> its number of tokens, and how much it leads


def half(device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in fewer bits: in bfloat16, which many processors do several times faster. On a GPU at this size
    casting would cost more than it saves, and its own short products (TF32) are as fast."""
    if device.type != "cuda":
        return torch.autocast(device.type, torch.bfloat16)
    torch.set_float32_matmul_precision("high")
    return nullcontext()


def tower(bench: Bench, size: int) -> Course:
    """The vision tower says what lies in each compartment, and which shape of which colour easy-VQA drew."""
    model, device = bench.net.lvlm.base.model, bench.net.summary_tokens.device
    width = model.config.vision_config.hidden_size
    heads = nn.ModuleDict({"facts": nn.Linear(width, sum(FACTS.values())), "shape": nn.Linear(width, 11)})
    heads.to(device)
    of_token = torch.from_numpy(_cell_of_token()).to(device)

    def prepare(step: int) -> Lesson:
        batch = bench.batch(1, step, size)
        return Lesson((), pictured(batch) | {"shapes": shapes_named(batch.easy)})

    def found(lesson: Lesson) -> Found:
        cells = lesson["cells"]
        with half(device):
            seen = model.vision_tower(bench.net.normalised(lesson["pixels"])).last_hidden_state.float()
        trays_seen, easy_seen = seen[: len(cells)], seen[len(cells) :].mean(1)
        at_tokens = fact_losses(heads["facts"](trays_seen), cells[:, of_token], of_token)
        at_cells = fact_losses(heads["facts"](_cell_means(trays_seen)), cells, _of_cell(device))
        return {
            **{f"cell.{name}": value for name, value in at_cells.items() if name != "place"},
            "tokens": torch.stack(list(at_tokens.values())).sum() * 0.25,
            "easy": _shape_loss(heads["shape"](easy_seen), lesson["shapes"]),
        }

    learn = {f"tower.{n}": p for n, p in model.vision_tower.named_parameters()}
    return Course(learn | {f"heads.{n}": p for n, p in heads.named_parameters()}, prepare, found)


def fact_losses(scores: torch.Tensor, cells: torch.Tensor, place: torch.Tensor) -> Found:
    """Cross entropies of ``scores`` [B, N, all facts] against what is held there: ``cells`` [B, N, 5], in the order of
    compartments or of tokens, whose compartments are ``place`` [N]."""
    parts = dict(zip(FACTS, torch.split(scores, list(FACTS.values()), -1), strict=True))
    kind = cells[..., 0]
    wanted = {"kind": kind + 2, "place": place.expand_as(kind)}
    for column, name in enumerate(("color", "size", "pose", "state"), 1):
        wanted[name] = cells[..., column].where(kind >= 0, IGNORE)
    wanted["digits"] = cells[..., 1:4].where((kind == trays.CARD)[..., None], IGNORE)
    parts["digits"] = parts["digits"].view(*kind.shape, 3, 10)
    return {name: _mean_loss(parts[name], labels) for name, labels in wanted.items()}


def _mean_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of ``scores`` [..., C] over those of ``labels`` [...] that ask for something; else 0."""
    lost = F.cross_entropy(scores.flatten(0, -2), labels.flatten(), ignore_index=IGNORE, reduction="sum")
    return lost / (labels != IGNORE).sum().clamp_min(1)


def _cell_of_token() -> data.Ids:
    """The compartment of each visual token [144]."""
    third = np.arange(design.GRID) // PER_CELL
    cells: data.Ids = (trays.COLUMNS * third[:, None] + third[None, :]).ravel()
    return cells


def _of_cell(device: torch.device) -> torch.Tensor:
    """The compartment of each compartment [9]."""
    return torch.arange(len(trays.CELLS), device=device)


def _cell_means(seen: torch.Tensor) -> torch.Tensor:
    """The mean of each compartment's tokens [B, 9, width] of [B, 144, width]."""
    grid = seen.reshape(len(seen), trays.ROWS, PER_CELL, trays.COLUMNS, PER_CELL, -1)
    return grid.mean((2, 4)).flatten(1, 2)


def _shape_loss(scores: torch.Tensor, named: torch.Tensor) -> torch.Tensor:
    """Scores [B, 3 + 8] against the picture's shape and colour [B, 2], which nearly all pictures' answers name."""
    parts = torch.split(scores, [3, 8], -1)
    return torch.stack([_mean_loss(part, named[:, at]) for at, part in enumerate(parts)]).sum()


def base(bench: Bench, size: int) -> Course:
    """Under the frozen tower, projector and language model learn to answer from all visual tokens, and each projected
    token to lie near the words for what is in its compartment, which is what makes searching learnable."""
    net, device = bench.net, bench.net.summary_tokens.device
    options = options_after(len(net.before) + design.VISUAL, device)
    of_token = torch.from_numpy(_cell_of_token()).to(device)
    ids = {
        "kind": ("card", "nothing", *trays.KINDS),
        "color": trays.COLORS,
        "size": trays.SIZES,
        "pose": trays.POSES,
        "state": trays.STATES,
        "place": trays.CELLS,
    }
    words = {
        name: torch.tensor([bench.words.ids[word] for word in names], device=device)
        for name, names in ids.items()
    }

    def prepare(step: int) -> Lesson:
        batch = bench.batch(2, step, size, sparse=True)
        return Lesson((), pictured(batch) | questioned(bench.words, batch))

    def found(lesson: Lesson) -> Found:
        cells = lesson["cells"]
        with half(device):
            visual = net.visual(lesson["pixels"])
            said = answer_losses(net, Stage.BASE, visual, lesson, options)
        near = visual[: len(cells)].float()
        scores = {name: near @ net.lvlm.embed(found).T for name, found in words.items()}
        none = near.new_zeros(*near.shape[:2], 1)
        every = torch.cat([scores.get(name, none.expand(-1, -1, n)) for name, n in FACTS.items()], -1)
        named = fact_losses(every, cells[:, of_token], of_token)
        return {**said, "named": torch.stack([named[name] for name in ids]).sum() * 0.25}

    frozen = {id(p) for p in net.lvlm.base.model.vision_tower.parameters()}
    learn = {n: p for n, p in net.lvlm.base.named_parameters() if id(p) not in frozen}
    return Course(learn, prepare, found)


def adapters(bench: Bench, size: int) -> Course:
    """Everything frozen; pairs and summary tokens learn both passes, in one graph, with both losses.

    From nothing, pass 1 writes what pass 2 cannot read yet, and neither learns. So the summary tokens begin as the
    names of the compartments, and for the first ``LEAD`` steps each of the nine states is drawn, ever less, towards the
    mean of one compartment's visual tokens, which the model reads already. Shorter prefixes begin when half of that is
    over.
    """
    net = bench.net
    with torch.no_grad():
        names = torch.tensor([bench.words.ids[name] for name in trays.CELLS])
        net.summary_tokens.copy_(net.lvlm.embed(names.to(net.summary_tokens.device)))

    def dice(step: int, rng: np.random.Generator) -> tuple[int, float]:
        k = int(rng.choice(list(SHARES), p=list(SHARES.values()))) if step > LEAD / 2 else max(SHARES)
        return k, max(0.0, 1 - step / LEAD) if k == max(SHARES) else 0.0

    return _both_passes(bench, 3, size, dice, SHARES, falsehoods=1, heat=0.07)


def refining(bench: Bench, size: int) -> Course:
    """The same goes on without a lead: captions are told from three false ones each, and being told apart counts
    twice."""

    def dice(step: int, rng: np.random.Generator) -> tuple[int, float]:
        return int(rng.choice(list(LATER_SHARES), p=list(LATER_SHARES.values()))), 0.0

    return _both_passes(bench, 4, size, dice, LATER_SHARES, falsehoods=3, heat=0.05, told=2.0)


def _both_passes(
    bench: Bench,
    stage: int,
    size: int,
    dice: Dice,
    shares: Mapping[int, float],
    *,
    falsehoods: int,
    heat: float,
    told: float = 1.0,
) -> Course:
    """Answers from summary tokens and captions told apart by them, which count ``told`` times."""
    net, device = bench.net, bench.net.summary_tokens.device
    warmth = nn.Parameter(torch.tensor(float(np.log(1 / heat)), device=device))
    writing = {k: causal(writing_length(net, k), device) for k in shares}
    options = {k: options_after(len(net.before) + k, device) for k in shares}

    def prepare(step: int) -> Lesson:
        batch = bench.batch(stage, step, size, sparse=True)
        k, lead = dice(step, batch.rng)
        asked = questioned(bench.words, batch)
        tensors = pictured(batch) | asked | captioned(bench.words, batch, falsehoods)
        return Lesson((k, lead > 0), tensors | {"lead": torch.tensor(lead)})

    def found(lesson: Lesson) -> Found:
        k, leads = cast(tuple[int, bool], lesson.kind)
        with half(device):
            with torch.no_grad():
                visual = net.visual(lesson["pixels"])
            tokens = net.summarise(visual, k, **writing[k])
            said = answer_losses(net, Stage.ANSWER, tokens, lesson, options[k])
            shown = tokens[: len(lesson["cells"])]
            said["contrast"] = contrast_loss(net, shown, lesson, torch.exp(-warmth).clamp_min(0.02)) * told
        if leads:
            apart = 1 - F.cosine_similarity(tokens.float(), _cell_means(visual).float(), dim=-1)
            said["lead"] = apart.mean() * lesson["lead"]
        return said

    return Course(net.own_parameters() | {"heat": warmth}, prepare, found)


def contrast_loss(
    net: DoubleForward, tokens: torch.Tensor, lesson: Lesson, temperature: torch.Tensor
) -> torch.Tensor:
    """Trays told apart by their captions [B, k, d], with the false captions of each as further negatives."""
    count, k, same = len(tokens), tokens.shape[1], lesson["captions_same"]
    mask = lesson["captions_mask"]
    shown = F.pad(mask, (0, k), value=1).bool()[:, None, None]  # [N, 1, 1, L]
    seen = causal(shown.shape[-1], mask.device)["attention_mask"].masked_fill(~shown, UNSEEN)
    texts = pool(net.summarise_text(lesson["captions"], mask, k, attention_mask=seen))
    return losses.contrastive(
        pool(tokens),
        texts[:count],
        temperature=temperature,
        captions=same[:count],
        negatives=texts[count:],
        negative_captions=same[count:],
    )


def writing_length(net: DoubleForward, k: int) -> int:
    """Tokens of pass 1."""
    return len(net.before) + design.VISUAL + len(net.prompt) + k


def causal(length: int, device: torch.device) -> dict[str, torch.Tensor]:
    """What the language model needs beside a sequence in which each token sees itself and those before it. It would
    make the same itself, by asking the device, which a captured graph cannot."""
    later = torch.full((length, length), UNSEEN, device=device).triu(1)
    return {"attention_mask": later[None, None], "position_ids": torch.arange(length, device=device)[None]}


def options_after(head: int, device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """What the language model needs beside a packed sequence after ``head`` of image."""
    mask, places = data.layout(head)
    return {
        "attention_mask": torch.zeros(mask.shape)
        .masked_fill(~torch.from_numpy(mask), UNSEEN)[None, None]
        .to(device),
        "position_ids": torch.from_numpy(places)[None].to(device),
    }


def answer_losses(
    net: DoubleForward, stage: Stage, image: torch.Tensor, lesson: Lesson, options: dict[str, Any]
) -> Found:
    """The autoregressive loss by kind of question; they share the image and do not see each other."""
    labels, weights = lesson["labels"], lesson["weights"]
    states = net.lvlm.hidden(stage, net.question(image, lesson["ids"]), **options)[:, -data.PACKED :]
    scores = net.lvlm.logits(states).float().flatten(0, 1)
    lost = F.cross_entropy(scores, labels.flatten(), ignore_index=IGNORE, reduction="none")
    each = (lost.view_as(labels) * weights).view(len(labels), len(data.ASKED), data.BLOCK).sum(2)  # [B, 8]
    trays_held = len(lesson["cells"])
    found = {"easy": each[trays_held:].sum()}
    for block, kinds in enumerate(data.ASKED):
        found["+".join(kinds)] = each[:trays_held, block].sum()
    return {name: value / len(labels) / len(data.ASKED) * 2 for name, value in found.items()}

"""What one step of the nano bundle's training is about, as arrays: pictures, questions, captions and what is true.

Batches depend on seed, stage and step alone. Knows the data. Knows nothing of networks or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.nano import data, easy_vqa, questions, trays

EASY = 4  # one picture of easy-VQA for so many trays
Tensors = dict[str, torch.Tensor]


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


def pictured(batch: Batch) -> Tensors:
    """Pictures [B, 3, 96, 96] and what the first of them, the trays, hold [trays, 9, 5]."""
    return {"pixels": batch.pixels, "cells": torch.from_numpy(batch.cells)}


def questioned(words: data.Words, batch: Batch) -> Tensors:
    """Questions and answers about each picture, packed: ids, labels and weights [B, PACKED]."""
    packed = words.packed(batch.asked())
    return dict(zip(("ids", "labels", "weights"), map(torch.from_numpy, packed), strict=True))


def captioned(words: data.Words, batch: Batch, falsehoods: int) -> Tensors:
    """A caption of each tray, then ``falsehoods`` false ones of each: ids and mask [N, CAPTION], and numbers [N] that
    are equal where two say the same."""
    captions = [questions.caption(facts, batch.rng) for facts in batch.held]
    false = [
        false_caption(said, facts, batch.rng)
        for said, facts in zip(captions, batch.held, strict=True)
        for _ in range(falsehoods)
    ]
    worded = [questions.worded(said) for said in (*captions, *false)]
    numbers: dict[str, int] = {}
    same = torch.tensor([numbers.setdefault(text, len(numbers)) for text in worded])
    ids, mask = (torch.from_numpy(x) for x in words.captions(worded))
    return {"captions": ids, "captions_mask": mask, "captions_same": same}


def false_caption(said: questions.Caption, facts: trays.Facts, rng: np.random.Generator) -> questions.Caption:
    """One of the three ways to say what is not so; adding always can."""
    for how in (*rng.permutation(questions.FALSEHOODS).tolist(), "add"):
        made = questions.false_caption(said, facts, rng, how, trays.TOLD_APART)
        if made is not None:
            return made
    return said


def shapes_named(asked: Sequence[Sequence[tuple[str, str]]]) -> torch.Tensor:
    """The shape and the colour [N, 2] that the answers about each picture of easy-VQA name; ``IGNORE`` where they name
    none or several."""
    said = [{answer for _, answer in pairs} for pairs in asked]
    named = [
        [[i for i, name in enumerate(names) if name in answers] for answers in said]
        for names in (easy_vqa.SHAPES, easy_vqa.COLORS)
    ]
    alone = [[one[0] if len(one) == 1 else IGNORE for one in column] for column in named]
    return torch.tensor(alone, dtype=torch.long).T

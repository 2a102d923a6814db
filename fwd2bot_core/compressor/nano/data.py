"""What the nano bundle learns from: tray pictures that came the whole way of a photo of the night, and easy-VQA's.

Each tray is rendered at 384 pixels, written as JPEG, decoded and fitted to 96 pixels. Compartments of this pool are
then recombined at will, which makes trays without number out of it. Knows pictures, questions and ids as arrays.
Knows nothing of models or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.nano import easy_vqa, fashion, questions, trays
from fwd2bot_core.compressor.nano.design import METHOD, PIXELS
from fwd2bot_core.compressor.preprocess import fit

# One tray's questions in training: kinds to draw each one from. Searching is learned last and asked most.
ASKED: tuple[tuple[str, ...], ...] = (
    ("cell", "color"),
    ("state", "pose", "size"),
    ("item",),
    ("lot", "count"),
    ("level",),
    ("beside",),
    ("presence",),
    ("place",),
)
BLOCK = 12  # ids that a question, its answer and the end may take
PACKED = len(ASKED) * BLOCK
CAPTION = 4 * (questions.CLAIMS + 1)  # ids of a caption with one claim more, and of its opening
ALL_KINDS = 0.2  # of the trays hold coats and shirts, too, which are never asked for
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """Fitted pictures [N, 3, 96, 96] uint8 and what their compartments hold [N, 9, 5] (``trays.Held``)."""

    pixels: npt.NDArray[np.uint8]
    cells: Ids

    @cached_property
    def holding(self) -> dict[str, Ids]:
        """Pairs of picture and compartment [M, 2] by what lies there."""
        kind = self.cells[:, :, 0]
        sorts = {"card": kind == trays.CARD, "nothing": kind == trays.EMPTY, "item": kind >= 0}
        return {name: np.argwhere(found) for name, found in sorts.items()}


def make_pool(split: str, count: int, seed: int, processes: int = 2) -> Pool:
    """``count`` pictures of trays drawn from the photos of ``split``; every photo is used about equally."""
    chunks = [(split, range(start, min(start + 250, count)), seed) for start in range(0, count, 250)]
    with get_context("spawn").Pool(processes) as workers:
        made = workers.starmap(_render, chunks)
    return Pool(np.concatenate([pixels for pixels, _ in made]), np.concatenate([cells for _, cells in made]))


def _render(split: str, numbers: range, seed: int) -> tuple[npt.NDArray[np.uint8], Ids]:
    photos, kinds = fashion.photos(split)
    by_kind = [np.flatnonzero(kinds == kind) for kind in range(len(trays.KINDS))]
    pixels = np.empty((len(numbers), 3, PIXELS, PIXELS), np.uint8)
    cells = np.empty((len(numbers), len(trays.CELLS), 5), np.int64)
    for row, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number])
        every = split == "train" and rng.random() < ALL_KINDS
        drawn = trays.draw_facts(rng, range(len(trays.KINDS)) if every else trays.TOLD_APART)
        held = [photos[rng.choice(by_kind[cell.kind])] if cell.is_item else None for cell in drawn.cells]
        target = METHOD.size if rng.random() < 0.5 else None  # a JPEG may be scaled while decoding, or not
        found = decode(trays.photograph(drawn, held, rng), DecodeLimits(), target=target)
        pixels[row], cells[row] = fit(found.image, METHOD.size, METHOD.mean), drawn.cells
    return pixels, cells


def pictures(pool: Pool, count: int, rng: np.random.Generator, *, sparse: bool = False) -> Pool:
    """A batch: half whole pictures, half put together from compartments, all with some more light and noise.

    ``sparse`` empties many compartments of the second half: a lone item is where searching is learned first.
    """
    picked = np.empty((count, 9, 2), np.int64)  # picture and compartment
    whole = count // 2
    picked[..., 0], picked[..., 1] = rng.integers(0, len(pool.cells), (count, 1)), np.arange(9)
    filled = rng.random((count, 9)) < (1 - rng.random((count, 1)) * 0.9 if sparse else trays.FILLED)
    card = np.arange(9) == rng.integers(0, 9, (count, 1))
    sorts = {"item": filled & ~card, "nothing": ~filled & ~card, "card": card}
    for name, here in sorts.items():
        here[:whole] = False
        options = pool.holding[name]
        picked[here] = options[rng.integers(0, len(options), int(here.sum()))]
    side = PIXELS // 3
    split = pool.pixels.reshape(-1, 3, 3, side, 3, side)
    tray, cell = picked[..., 0], picked[..., 1]
    taken = split[tray, :, cell // 3, :, cell % 3]  # [count, 9, 3, 32, 32]
    joined = taken.reshape(count, 3, 3, 3, side, side).transpose(0, 3, 1, 4, 2, 5)
    pixels = shaded(joined.reshape(count, 3, PIXELS, PIXELS), rng)
    return Pool(pixels, pool.cells[tray, cell])


def shaded(pixels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The same pictures [B, 3, H, W] a little lighter or darker, with more or less noise."""
    drawn = pixels.astype(np.float32)
    drawn *= rng.uniform(0.85, 1.15, (len(pixels), 1, 1, 1)).astype(np.float32)
    noise = rng.standard_normal(
        pixels[0].shape, np.float32
    )  # one sheet for all: drawing it is most of the time
    drawn += noise * rng.uniform(0, 4, (len(pixels), 1, 1, 1)).astype(np.float32)
    return drawn.clip(0, 255).astype(np.uint8)


class Words:
    """Texts to ids, in the layout that training uses: questions about one image that do not see each other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.pad, self.bos, self.eos = (self.ids[word] for word in ("<pad>", "<bos>", "<eos>"))
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Ids of a text without its opening or end; short texts are kept, since they come again."""
        found = self._known.get(text)
        if found is None:
            found = self._tokenizer.encode(text, add_special_tokens=False).ids
            if len(self._known) < 100_000:
                self._known[text] = found
        return found

    def packed(self, asked: Sequence[Sequence[tuple[str, str]]]) -> tuple[Ids, Ids, npt.NDArray[np.float32]]:
        """Ids, labels and weights [B, PACKED] of up to eight questions with answers about each image.

        The weights of one answer sum to one: a question counts the same however long its answer is.
        """
        ids = np.full((len(asked), len(ASKED), BLOCK), self.pad, np.int64)
        labels = np.full_like(ids, IGNORE)
        weights = np.zeros(ids.shape, np.float32)
        for row, pairs in enumerate(asked):
            for block, (question, answer) in enumerate(pairs):
                said = [*self.encode(answer), self.eos]
                whole = self.encode(question) + said
                if len(whole) > BLOCK:
                    raise ValueError(f"{question!r} and {answer!r} are longer than {BLOCK} ids together")
                start = len(whole) - len(said)
                ids[row, block, : len(whole)] = whole
                labels[row, block, start - 1 : len(whole) - 1] = said
                weights[row, block, start - 1 : len(whole) - 1] = 1 / len(said)
        return ids.reshape(-1, PACKED), labels.reshape(-1, PACKED), weights.reshape(-1, PACKED)

    def captions(self, said: Sequence[str]) -> tuple[Ids, Ids]:
        """Captions as ids and mask [B, CAPTION], left-padded."""
        ids = np.full((len(said), CAPTION), self.pad, np.int64)
        mask = np.zeros_like(ids)
        for row, caption in enumerate(said):
            whole = [self.bos, *self.encode(caption)]
            ids[row, -len(whole) :], mask[row, -len(whole) :] = whole, 1
        return ids, mask


def asked_of_trays(held: Sequence[trays.Facts], rng: np.random.Generator) -> list[list[tuple[str, str]]]:
    """Eight questions about each tray, with their answers; they name no coat and no shirt."""
    found = []
    for facts in held:
        drawn = [
            questions.ask(kinds[int(rng.integers(len(kinds)))], facts, rng, trays.TOLD_APART)
            for kinds in ASKED
        ]
        found.append([(one.text, one.answer) for one in drawn])
    return found


def asked_of_easy(
    asked: Sequence[Sequence[tuple[str, str]]], rng: np.random.Generator
) -> list[list[tuple[str, str]]]:
    """Up to eight of each picture's questions."""
    return [[pairs[i] for i in rng.permutation(len(pairs))[: len(ASKED)]] for pairs in asked]


def easy(split: str) -> easy_vqa.Split:
    """easy-VQA as the tower sees it."""
    return easy_vqa.load(split, PIXELS, METHOD.mean)


def layout(head: int) -> tuple[npt.NDArray[np.bool_], Ids]:
    """Who sees whom and where each id stands, after ``head`` of image: mask [L, L], positions [L]."""
    blocks = np.repeat(np.arange(len(ASKED)), BLOCK)
    block = np.concatenate([np.zeros(head, int), 1 + blocks])
    places = np.concatenate([np.arange(head), head + np.tile(np.arange(BLOCK), len(ASKED))])
    causal = np.tril(np.ones((len(block), len(block)), bool))
    return causal & ((block[:, None] == block[None, :]) | (block[None, :] == 0)), places


def facts(cells: Ids) -> trays.Facts:
    """A row of a pool's cells [9, 5] as the facts of its tray."""
    return trays.Facts(tuple(trays.Held(*held) for held in cells.tolist()))

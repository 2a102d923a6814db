"""What the nano bundle learns from: tray pictures that came the whole way of a photo of the night.

Each picture is rendered at 384 pixels, written as JPEG, decoded and fitted to 64 pixels. Cells of this
pool are then recombined at will, which makes trays without number out of it. Knows pictures, questions
and ids as arrays. Knows nothing of models or losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.nano import fashion, questions, trays
from fwd2bot_core.compressor.nano.design import METHOD, PIXELS
from fwd2bot_core.compressor.preprocess import fit

# One image's questions in training: kinds to draw from, and the ids that question, answer and end may take.
# Searching a tray for an item is what the model learns last, so it is asked most.
ASKED: tuple[tuple[tuple[str, ...], int], ...] = (
    (("describe",), 22),
    (("place",), 14),
    (("presence",), 10),
    (("presence",), 10),
    (("cell", "count"), 10),
)
BLOCKS = tuple(size for _, size in ASKED)
PACKED = sum(BLOCKS)
CAPTION = 16  # ids of a caption, with its opening id
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pool:
    """Fitted pictures [N, 3, 64, 64] uint8 and what lies in their cells [N, 4]."""

    pixels: npt.NDArray[np.uint8]
    cells: Ids


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
    cells = np.empty((len(numbers), 4), np.int64)
    for row, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number])
        drawn = trays.draw_facts(rng)
        held = [None if kind < 0 else photos[rng.choice(by_kind[kind])] for kind in drawn.cells]
        target = METHOD.size if rng.random() < 0.5 else None  # a JPEG may be scaled while decoding, or not
        found = decode(trays.photograph(held, rng), DecodeLimits(), target=target)
        pixels[row], cells[row] = fit(found.image, METHOD.size, METHOD.mean), drawn.cells
    return pixels, cells


def pictures(pool: Pool, count: int, rng: np.random.Generator, *, sparse: bool = False) -> Pool:
    """A batch: half whole pictures, half put together from cells, all with some more light and noise.

    ``sparse`` empties many cells of the second half: a lone item is where searching is learned first.
    """
    tray = rng.integers(0, len(pool.cells), (count, 4))
    cell = rng.integers(0, 4, (count, 4))
    whole = count // 2
    tray[:whole], cell[:whole] = tray[:whole, :1], np.arange(4)
    if sparse:
        emptied = rng.random((count, 4)) < rng.random((count, 1))
        emptied[:whole] = False
        empty = np.argwhere(pool.cells == trays.EMPTY)
        tray[emptied], cell[emptied] = empty[rng.integers(0, len(empty), emptied.sum())].T
    half = PIXELS // 2
    split = pool.pixels.reshape(-1, 3, 2, half, 2, half)
    taken = split[tray, :, cell // 2, :, cell % 2]  # [count, 4, 3, 32, 32]
    turned = rng.random((count, 4)) < 0.5
    turned[:whole] = False
    taken[turned] = taken[turned][..., ::-1]  # mirrored, which cells of whole pictures never are
    joined = taken.reshape(count, 2, 2, 3, half, half).transpose(0, 3, 1, 4, 2, 5)
    pixels = joined.reshape(count, 3, PIXELS, PIXELS).astype(np.float32)
    pixels *= rng.uniform(0.85, 1.15, (count, 1, 1, 1)).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 4, (count, 1, 1, 1)).astype(
        np.float32
    )
    return Pool(pixels.clip(0, 255).astype(np.uint8), pool.cells[tray, cell])


class Words:
    """Texts to ids, in the layout that training uses: questions about one image that do not see each other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.pad, self.bos, self.eos = (self.ids[word] for word in ("<pad>", "<bos>", "<eos>"))

    def encode(self, text: str) -> list[int]:
        return [self.ids[word] for word in text.split()]

    def packed(self, cells: Ids, rng: np.random.Generator) -> tuple[Ids, Ids, npt.NDArray[np.float32]]:
        """Ids, labels and weights [B, PACKED] of the questions about each tray.

        The weights of one answer sum to one: a question counts the same however long its answer is.
        """
        ids = np.full((len(cells), PACKED), self.pad, np.int64)
        labels = np.full((len(cells), PACKED), IGNORE, np.int64)
        weights = np.zeros((len(cells), PACKED), np.float32)
        for row, held in enumerate(cells):
            known = facts(held)
            for (kinds, _), columns in zip(ASKED, blocks(), strict=True):
                asked = questions.ask(kinds[int(rng.integers(len(kinds)))], known, rng)
                self._block(ids[row, columns], labels[row, columns], asked)
                said = labels[row, columns] != IGNORE
                weights[row, columns] = said / said.sum()
        return ids, labels, weights

    def _block(self, ids: Ids, labels: Ids, asked: questions.Question) -> None:
        question, answer = self.encode(asked.text), [*self.encode(asked.answer), self.eos]
        whole = (question + answer)[: len(ids)]
        ids[: len(whole)] = whole
        said = whole[len(question) :]
        labels[len(question) - 1 : len(question) - 1 + len(said)] = said

    def captions(self, cells: Ids) -> tuple[Ids, Ids, Ids]:
        """Captions as ids and mask [B, CAPTION], left-padded, and a number [B] that equal ones share."""
        ids, mask = (
            np.full((len(cells), CAPTION), self.pad, np.int64),
            np.zeros((len(cells), CAPTION), np.int64),
        )
        numbers: dict[str, int] = {}
        same = np.empty(len(cells), np.int64)
        for row, held in enumerate(cells):
            caption = facts(held).caption()
            said = [self.bos, *self.encode(caption)]
            ids[row, -len(said) :], mask[row, -len(said) :] = said, 1
            same[row] = numbers.setdefault(caption, len(numbers))
        return ids, mask, same


def blocks() -> list[slice]:
    """The columns of each question in a packed row."""
    ends = np.cumsum(BLOCKS).tolist()
    return [slice(end - size, end) for end, size in zip(ends, BLOCKS, strict=True)]


def layout(head: int) -> tuple[npt.NDArray[np.bool_], Ids]:
    """Who sees whom and where each id stands, after ``head`` of image: mask [L, L], positions [L]."""
    block = np.concatenate([np.zeros(head, int), *(np.full(n, i + 1) for i, n in enumerate(BLOCKS))])
    places = np.concatenate([np.arange(head), *(head + np.arange(n) for n in BLOCKS)])
    causal = np.tril(np.ones((len(block), len(block)), bool))
    return causal & ((block[:, None] == block[None, :]) | (block[None, :] == 0)), places


def facts(cells: Ids) -> trays.Facts:
    """A row of a pool's cells [4] as the facts of its tray."""
    a, b, c, d = cells.tolist()
    return trays.Facts((a, b, c, d))

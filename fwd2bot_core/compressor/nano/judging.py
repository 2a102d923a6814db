"""Which answers are right, from the image and from tokens, without saying them word by word.

An answer said greedily is right word for word exactly if, the right one having been said so far, each next word of it
is the likeliest: so one pass over packed questions judges them all. Knows ids and states. Knows nothing of kinds of
questions, shares or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design
from fwd2bot_core.compressor.nano.stages import options_after

BATCH = 50
Floats = npt.NDArray[np.float32]
Pairs = Sequence[tuple[str, str]]
Marks = list[list[bool]]  # for each picture, of each of its questions


@dataclass(frozen=True)
class Judge:
    """A network whose answers are judged."""

    net: DoubleForward

    @cached_property
    def words(self) -> data.Words:
        return data.Words(design.tokenizer())

    @torch.inference_mode()
    def visual(self, pixels: npt.NDArray[np.uint8]) -> Floats:
        """Visual tokens [N, 144, d] of fitted pictures [N, 3, 96, 96]."""
        return _joined(self.net.visual(torch.from_numpy(some)) for some in _batches(pixels))

    @torch.inference_mode()
    def tokens(self, visual: Floats) -> Floats:
        """Summary tokens [N, k, d]; those of a smaller k are the first of them."""
        return _joined(self.net.summarise(torch.from_numpy(some)) for some in _batches(visual))

    @torch.inference_mode()
    def text_tokens(self, said: Sequence[str], k: int) -> Floats:
        """The ``k`` summary tokens [N, k, d] of texts."""
        ids, mask = (torch.from_numpy(found) for found in self.words.captions(said))
        pairs = zip(torch.split(ids, BATCH), torch.split(mask, BATCH), strict=True)
        return _joined(self.net.summarise_text(i, m, k) for i, m in pairs)

    def texts(self, said: Sequence[str], k: int) -> Floats:
        """The vectors [N, d] of texts, made of ``k`` summary tokens as are the pictures they are held against."""
        return pooled(self.text_tokens(said, k))

    def marks(self, stage: Stage, image: Floats, asked: Sequence[Pairs]) -> Marks:
        """Whether each question about each ``image`` [N, T or k, d] is answered right."""
        options = options_after(len(self.net.before) + image.shape[1])
        found: Marks = []
        for start in range(0, len(image), BATCH):
            few = slice(start, start + BATCH)
            found += self._marks(
                stage, torch.from_numpy(np.require(image[few], requirements="W")), asked[few], options
            )
        return found

    @torch.inference_mode()
    def _marks(
        self, stage: Stage, image: torch.Tensor, asked: Sequence[Pairs], options: dict[str, torch.Tensor]
    ) -> Marks:
        found: Marks = [[] for _ in asked]
        each = len(data.ASKED)
        for start in range(0, max(map(len, asked)), each):
            rows = [row for row, pairs in enumerate(asked) if len(pairs) > start]
            some = [asked[row][start : start + each] for row in rows]
            ids, labels, _ = (torch.from_numpy(x) for x in self.words.packed(some))
            states = self.net.lvlm.hidden(stage, self.net.question(image[rows], ids), **options)
            wanted = labels != IGNORE
            wrong = torch.zeros_like(wanted)
            scores = self.net.lvlm.logits(states[:, -data.PACKED :][wanted])
            wrong[wanted] = scores.argmax(-1) != labels[wanted]
            right = ~wrong.reshape(len(wrong), each, data.BLOCK).any(-1)
            for row, pairs, said in zip(rows, some, right.tolist(), strict=True):
                found[row] += said[: len(pairs)]
        return found


def pooled(tokens: Floats) -> Floats:
    """The vectors [N, d] that search compares, of summary tokens [N, k, d]."""
    vectors: Floats = pool(torch.from_numpy(np.ascontiguousarray(tokens))).numpy()
    return vectors


def _batches(rows: npt.NDArray[np.generic]) -> Iterator[npt.NDArray[np.generic]]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _joined(parts: Iterator[torch.Tensor]) -> Floats:
    whole: Floats = torch.cat(list(parts)).float().numpy()
    return whole

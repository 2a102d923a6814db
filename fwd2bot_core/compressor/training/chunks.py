"""A step's images, questions and captions as tensors, in chunks that fit into memory.

Knows drawn rows, a compressor's eyes and a wording. Knows nothing of losses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.compressor.training.drawing import Drawn
from fwd2bot_core.compressor.training.wording import Asked, Told, Wording, numbered

Look = Callable[[Sequence[Prepared]], tuple[list[Any], list[int]]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """B images, Q questions about them and C captions of them."""

    looks: Sequence[Any]  # what ``DoubleForward.visual`` takes: crops of one shape each
    order: torch.Tensor  # [B * crops] where each crop of each image lies in the looks, one after the other
    owners: torch.Tensor  # [Q] whose question it is
    lengths: torch.Tensor  # [Q] of the prefix that it is answered from
    asked: Asked
    captioned: torch.Tensor  # [C] whose caption it is
    captions: Told
    groups: torch.Tensor  # [C] numbers of the images' groups
    negatives: Told

    @property
    def share(self) -> torch.Tensor:
        """The number of its questions."""
        return torch.tensor(float(len(self.owners)), device=self.owners.device)


class Cutter:
    """Makes chunks of ``size`` images (0: one chunk of all) on one device."""

    def __init__(self, look: Look, wording: Wording, *, size: int, device: torch.device) -> None:
        """``look`` stacks the images' crops of equal shape and says where in the stacks each crop went."""
        self._look, self._wording, self._size, self._device = look, wording, size, device

    def cut(self, drawn: Sequence[Drawn], images: Sequence[Prepared]) -> list[Chunk]:
        size = self._size or max(1, len(drawn))
        starts = range(0, max(1, len(drawn)), size)
        return [self._chunk(drawn[i : i + size], images[i : i + size]) for i in starts]

    def _chunk(self, drawn: Sequence[Drawn], images: Sequence[Prepared]) -> Chunk:
        looks, order = self._look(images)
        pairs = [(row, i) for row, one in enumerate(drawn) for i in range(len(one.questions))]
        told = [(row, one) for row, one in enumerate(drawn) if one.caption is not None]
        asked = self._wording.asked([drawn[row].questions[i] for row, i in pairs])
        captions = self._wording.told([one.caption or "" for _, one in told])
        negatives = self._wording.told([text for _, one in told for text in one.item.negatives])
        return Chunk(
            looks,
            self._numbers(order),
            self._numbers([row for row, _ in pairs]),
            self._numbers([drawn[row].lengths[i] for row, i in pairs]),
            Asked(asked.ids.to(self._device), asked.labels.to(self._device)),
            self._numbers([row for row, _ in told]),
            self._placed(captions),
            numbered([one.item.group for _, one in told]).to(self._device),
            self._placed(negatives),
        )

    def _numbers(self, values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)

    def _placed(self, told: Told) -> Told:
        return Told(told.ids.to(self._device), told.mask.to(self._device), told.numbers.to(self._device))

"""What a language model reads of an image: its tokens, and what some families need beside them.

A plain tensor [B, T, d] is an image of a family that needs nothing else (and also k summary tokens, which never
need anything else). Knows tensors. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Visual:
    """B images of one layout."""

    tokens: torch.Tensor  # [B, T, d]
    positions: torch.Tensor | None = None  # [3, T], time, row and column, from 0; None: one after the other
    deep: tuple[
        torch.Tensor, ...
    ] = ()  # [B, T, d] each: what the first layers add to what they say of an image

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Sequence[int] | slice | torch.Tensor) -> Visual:
        return Visual(self.tokens[rows], self.positions, tuple(layer[rows] for layer in self.deep))

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    def repeat_interleave(self, repeats: int, dim: int = 0) -> Visual:
        """Each image ``repeats`` times in a row, as a tensor's method of that name."""
        return self[torch.arange(len(self), device=self.device).repeat_interleave(repeats, dim=dim)]


Image = torch.Tensor | Visual  # visual tokens of any family, or summary tokens


def tokens_of(image: Image) -> torch.Tensor:
    """[B, T, d]."""
    return image.tokens if isinstance(image, Visual) else image


def span(image: Image) -> int:
    """How many positions the image takes: the text after it goes on there."""
    if isinstance(image, Visual) and image.positions is not None:
        return int(image.positions.max()) + 1
    return tokens_of(image).shape[1]


def joined(images: Sequence[Image]) -> Image:
    """Several looks at the same B photos as one long image, in order."""
    first = images[0]
    if len(images) == 1:
        return first
    tokens = torch.cat([tokens_of(image) for image in images], dim=1)
    if not isinstance(first, Visual):
        return tokens
    looks = [image for image in images if isinstance(image, Visual)]
    positions, start = [], 0
    for look in looks:
        if look.positions is not None:
            positions.append(look.positions + start)
        start += span(look)
    deep = tuple(torch.cat(layers, dim=1) for layers in zip(*(look.deep for look in looks), strict=True))
    return Visual(tokens, torch.cat(positions, dim=1) if positions else None, deep)

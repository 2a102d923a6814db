"""float32 copies of what is learned in fewer bits: a step too small for bfloat16 would change nothing.

Parameters that are float32 already are their own masters. Knows nothing of optimisers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class Masters:
    """``parameters`` are what an optimiser changes; the model's own follow through ``write_back``."""

    def __init__(self, learn: Mapping[str, nn.Parameter]) -> None:
        self.parameters = {
            name: p if p.dtype == torch.float32 else nn.Parameter(p.detach().float())
            for name, p in learn.items()
        }
        self._learn = dict(learn)
        self._copies = [
            (p, self.parameters[name]) for name, p in learn.items() if self.parameters[name] is not p
        ]

    def forget_gradients(self) -> None:
        for p in self._learn.values():
            p.grad = None

    def take_gradients(self) -> None:
        """The model's gradients, in float32, at the masters."""
        for p, master in self._copies:
            master.grad = None if p.grad is None else p.grad.float()

    def write_back(self) -> None:
        """The masters' values, rounded, into the model."""
        with torch.no_grad():
            for p, master in self._copies:
                p.copy_(master)

"""Several processes that train one compressor: each takes a share of the batch, and all take the same step.

Started by ``torchrun`` or ``accelerate launch``, which say who is who in the environment. What is exchanged:
the pooled vectors, so that each compares its own with everybody's; the gradients of the few trained
parameters, summed once a step; the time, so that all stop at the same step.
Knows torch.distributed. Knows nothing of models or losses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True, slots=True)
class Team:
    """This process's place among ``size``."""

    rank: int = 0
    size: int = 1
    local: int = 0  # this process's number on its machine, which is that of its GPU

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def gather(self, rows: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Everybody's ``rows`` [n_r, ...] in the order of ranks, and where one's own begin; no gradient."""
        if self.size == 1:
            return rows, 0
        counts = self._counts(len(rows), rows.device)
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(found, padded.contiguous())
        own = [part[:count] for part, count in zip(found, counts, strict=True)]
        return torch.cat(own), sum(counts[: self.rank])

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of everybody's ``values``; no gradient."""
        summed = values.detach().clone()
        if self.size > 1:
            distributed.all_reduce(summed)
        return summed

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by the sum of everybody's, in one exchange a dtype."""
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[nn.Parameter]] = {}
        for p in parameters:
            by_dtype.setdefault(p.dtype, []).append(p)
        for those in by_dtype.values():
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in those]
            flat = torch.cat([grad.flatten() for grad in grads]).float()
            distributed.all_reduce(flat)
            for p, part in zip(those, torch.split(flat, [p.numel() for p in those]), strict=True):
                p.grad = part.view_as(p).to(p.dtype)

    def agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """The slowest one's seconds, and whether anybody wants to stop."""
        if self.size == 1:
            return seconds, stop
        both = torch.tensor([seconds, float(stop)], dtype=torch.float64, device=self._device())
        distributed.all_reduce(both, distributed.ReduceOp.MAX)
        return float(both[0]), bool(both[1])

    def wait(self) -> None:
        """Until everybody is here."""
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        if self.size > 1:
            distributed.destroy_process_group()

    def _counts(self, count: int, device: torch.device) -> list[int]:
        mine = torch.tensor([count], device=device)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(found, mine)
        return [int(one) for one in found]

    def _device(self) -> torch.device:
        return (
            torch.device("cuda", self.local) if distributed.get_backend() == "nccl" else torch.device("cpu")
        )


ALONE = Team()


def join(device: str) -> Team:
    """The team that the launcher made, if there is one; meets the others."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.startswith("cuda"):
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Team(distributed.get_rank(), size, local)

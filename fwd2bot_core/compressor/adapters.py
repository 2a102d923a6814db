"""LoRA for two stages: the language model held as several views that share every base Parameter.

A *view* is a structural copy of the language model whose weights are the very same Parameter objects, with
LoRA pairs of its own on every linear. The stage is then nothing but *which view is called*: there is no
switch to forget, the pairs of the other stage cannot be frozen by accident, and a checkpointed layer that
runs again in the backward pass runs again in its own view.
Knows nothing of images, prompts or stages by name.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F


class LoraLinear(nn.Module):
    """``x W^T + b + (alpha / rank) x A^T B^T``: a shared linear with a pair of its own, B zero at first."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        weight = linear.weight
        self.lora_a = nn.Parameter(weight.new_empty(rank, linear.in_features))
        self.lora_b = nn.Parameter(weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = F.linear(x, self.lora_a)  # [..., rank]
        out: torch.Tensor = self.linear(x) + self.scale * F.linear(low, self.lora_b)
        return out

    def merge(self) -> nn.Linear:
        """One plain linear that does the same, with weights of its own."""
        linear = self.linear
        with torch.device("meta"):
            merged = nn.Linear(linear.in_features, linear.out_features, bias=linear.bias is not None)
        weight = linear.weight + self.scale * (self.lora_b @ self.lora_a)
        merged.weight = nn.Parameter(weight.detach(), requires_grad=False)
        merged.bias = linear.bias
        return merged


def view(language_model: nn.Module, *, rank: int, alpha: float) -> nn.Module:
    """A copy of ``language_model`` that shares its Parameters and has LoRA on every linear.

    Pairs take the device and dtype of the weights they stand beside; the base model is left as it was.
    """
    shared = {id(p): p for p in language_model.parameters()}
    made = copy.deepcopy(language_model, memo=dict(shared))
    for parent, name, linear in list(_linears(made)):
        setattr(parent, name, LoraLinear(linear, rank, alpha))
    return made


def merge(view_: nn.Module) -> nn.Module:
    """Fold a view's pairs into weights of its own, in place; for inference only."""
    for parent in list(view_.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLinear):
                setattr(parent, name, child.merge())
    return view_


def pairs(view_: nn.Module) -> dict[str, nn.Parameter]:
    """The view's own parameters by name, and none of the shared ones."""
    return {name: p for name, p in view_.named_parameters() if name.rsplit(".", 1)[-1].startswith("lora_")}


def _linears(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                yield parent, name, child

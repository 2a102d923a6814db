"""The same network, made faster to train at the nano bundle's size (1.4 to 1.6 times on a processor).

One matrix product where a linear with its pair takes three: with many more tokens than numbers in one, folding the pair
into a weight costs nothing. Attention written out, which beats the fused kernel at heads of 32 numbers. And one
operation where a norm takes seven, since on a GPU so small ones cost their launch. All give the same numbers up to
rounding. Knows the network's parts. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from fwd2bot_core.compressor.adapters import LoraLinear
from fwd2bot_core.compressor.double_forward import DoubleForward


@contextmanager
def made_faster(net: DoubleForward) -> Iterator[None]:
    """``net`` runs so within the block, and as before after it. Masks given to it must be added, not boolean."""
    instead = {LoraLinear: _folded, LlamaRMSNorm: _normed}
    changed: list[nn.Module] = [module for module in net.modules() if type(module) in instead]
    configs = [net.lvlm.base.config.get_text_config(), *(view.config for view in net.lvlm.views.values())]
    before = [config._attn_implementation for config in configs]
    for module in changed:
        module.forward = MethodType(instead[type(module)], module)
    for config in configs:
        config._attn_implementation = "eager"
    try:
        yield
    finally:
        for module in changed:
            del module.forward
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


def _folded(linear: LoraLinear, x: torch.Tensor) -> torch.Tensor:
    weight = torch.addmm(linear.linear.weight, linear.lora_b, linear.lora_a, alpha=linear.scale)
    return F.linear(x, weight, linear.linear.bias)


def _normed(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)

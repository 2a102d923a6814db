"""Between the bytes of a bundle and a model in memory, both ways.

Knows safetensors, configurations and tokenizers. Knows nothing of files or hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer
from transformers import LlavaConfig, LlavaForConditionalGeneration

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.nano import tower as _tower  # noqa: F401 - registers its model type
from fwd2bot_core.errors import CompressorError


def assemble(
    method: Method, model: Mapping[str, Any], *, words: bytes, weights: bytes, adapters: bytes
) -> tuple[DoubleForward, Tokenizer]:
    """The model with its adapters, merged if the method says so, and its tokenizer."""
    if model.get("model_type") != LlavaConfig.model_type:
        raise CompressorError(
            f"a model of type {model.get('model_type')!r} is not LLaVA-class: use another bundle"
        )
    tokenizer = Tokenizer.from_str(words.decode())
    with torch.random.fork_rng(devices=[]):  # random weights are drawn and replaced: the caller's dice stay
        lvlm = LlavaForConditionalGeneration(LlavaConfig.from_dict(dict(model)))
        lvlm.to(getattr(torch, method.dtype)).load_state_dict(safetensors.torch.load(weights))
        net = DoubleForward(lvlm, method, script(tokenizer, method))
    _fill(net.own_parameters(), safetensors.torch.load(adapters))
    net.requires_grad_(False)
    if method.merged:
        net.merge()
    return net.eval(), tokenizer


def disassemble(net: DoubleForward) -> tuple[dict[str, Any], bytes, bytes]:
    """Architecture, weights and adapters of a model that is not merged."""
    base = net.lvlm.base
    drop = {"transformers_version", "_name_or_path", "dtype", "torch_dtype"}
    config = {key: value for key, value in base.config.to_dict().items() if key not in drop}
    weights = {name: tensor.detach().contiguous() for name, tensor in base.state_dict().items()}
    adapters = {name: p.detach().contiguous() for name, p in net.own_parameters().items()}
    return config, safetensors.torch.save(weights), safetensors.torch.save(adapters)


def _fill(own: Mapping[str, torch.nn.Parameter], found: Mapping[str, torch.Tensor]) -> None:
    if set(own) != set(found):
        odd = sorted(set(own) ^ set(found))[0]
        raise ValueError(f"the adapters are those of another model ({odd} is in one of them only)")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != found[name].shape:
                raise ValueError(f"the adapters are those of another model (shape of {name})")
            parameter.copy_(found[name])

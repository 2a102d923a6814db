"""Between the bytes of a bundle and a model in memory, both ways.

Knows safetensors, configurations and tokenizers. Knows nothing of files or hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    PreTrainedModel,
)

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.nano import tower as _tower  # noqa: F401 - registers its model type
from fwd2bot_core.errors import CompressorError


def assemble(
    method: Method, model: Mapping[str, Any], *, words: bytes, weights: bytes, adapters: bytes
) -> tuple[DoubleForward, Tokenizer]:
    """The model with its adapters, merged if the method says so, and its tokenizer."""
    tokenizer = Tokenizer.from_str(words.decode())
    with torch.random.fork_rng(devices=[]):  # random weights are drawn and replaced: the caller's dice stay
        lvlm = _built(model, getattr(torch, method.dtype))
        _pour(lvlm, safetensors.torch.load(weights))
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
    config = {key: _timeless(value) for key, value in base.config.to_dict().items() if key not in drop}
    tied = _tied(base)
    weights = {name: _brief(t.detach()) for name, t in base.state_dict().items() if name not in tied}
    adapters = {name: p.detach().contiguous() for name, p in net.own_parameters().items()}
    return config, safetensors.torch.save(weights), safetensors.torch.save(adapters)


def round_to_half(model: PreTrainedModel) -> None:
    """Round every weight to what float16 can say, in place: a bundle then holds it in half the bytes, exactly."""
    for parameter in model.parameters():
        parameter.data = parameter.data.half().to(parameter.dtype)


def _brief(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in half the bytes, if float16 can say all of them; loading gives them back as they were."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        tensor = tensor.half()
    return tensor.contiguous()


def cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in ``dtype``, in place; what is no weight, such as rotary frequencies, stays in full
    precision, as transformers has it. (``Module.to`` would round that, too.)"""
    kept = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) in kept and tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
    return model


def unchosen(config: Any) -> Any:
    """A configuration, parts included, that leaves it to this machine how attention and experts are computed: a file
    may name code that would be fetched."""
    config._attn_implementation = None
    config._experts_implementation = None
    return config


def _built(model: Mapping[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    """A model of transformers' own class for that configuration, never one of a bundle's code.

    Made in ``dtype`` as transformers makes it: rotary frequencies and the like stay in full precision.
    """
    kind = model.get("model_type")
    known = kind in CONFIG_MAPPING and CONFIG_MAPPING[kind] in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if not known:
        raise CompressorError(f"a model of type {kind!r} is no image-text-to-text model: use another bundle")
    config_class = CONFIG_MAPPING[kind]
    config = unchosen(config_class.from_dict(dict(model)))
    return MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[config_class]._from_config(config, dtype=dtype)


def _timeless(part: Any) -> Any:
    """A part's configuration without what loading writes into it: a bundle saved again keeps its fingerprint."""
    if not isinstance(part, dict):
        return part
    blank = {"dtype": None, "_name_or_path": ""}
    return {key: blank[key] if key in blank else _timeless(value) for key, value in part.items()}


def _pour(model: PreTrainedModel, found: Mapping[str, torch.Tensor]) -> None:
    """Load all weights, strictly; tied ones are stored once."""
    tied = {name: found[first] for name, first in _tied(model).items() if first in found}
    model.load_state_dict({**tied, **found})


def _tied(model: PreTrainedModel) -> dict[str, str]:
    """Names of weights that are another one's very memory, with that other's name."""
    first: dict[tuple[int, torch.Size], str] = {}
    tied = {}
    for name, tensor in model.state_dict().items():
        owner = first.setdefault((tensor.data_ptr(), tensor.shape), name)
        if owner != name and tensor.numel():
            tied[name] = owner
    return tied


def _fill(own: Mapping[str, torch.nn.Parameter], found: Mapping[str, torch.Tensor]) -> None:
    if set(own) != set(found):
        odd = sorted(set(own) ^ set(found))[0]
        raise ValueError(f"the adapters are those of another model ({odd} is in one of them only)")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != found[name].shape:
                raise ValueError(f"the adapters are those of another model (shape of {name})")
            parameter.copy_(found[name])

"""Where a training begins: a bundle's model with its adapters or new ones, or a model that is no compressor yet.

Knows bundles, models and methods. Knows nothing of data or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fwd2bot_core.compressor import manifest
from fwd2bot_core.compressor.bundle import load_bundle
from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.compressor.training.config import TrainingConfig
from fwd2bot_core.compressor.weights import cast
from fwd2bot_core.errors import CompressorError, SettingsError

PROJECTORS = ("multi_modal_projector", "connector", "merger", "deepstack_merger_list")
PLAIN_K, PLAIN_RANK = 16, 64  # of a model that is no compressor yet
UNFINISHED = "0" * 64  # the fingerprint of what is still being trained


def begin(config: TrainingConfig, device: str) -> Fwd2BotCompressor:
    """The compressor to train, on ``device``, with nothing merged, looking at images as ``config.view`` says; the same
    for the same settings.

    Raises ``SettingsError`` naming the setting that does not fit the base, ``UsageError`` for a view that it cannot
    serve, ``CompressorError`` for a base that is neither a bundle nor a model.
    """
    torch.manual_seed(config.training.seed)
    made = _from_bundle(config) if is_bundle(config.base) else _from_model(config)
    made.net.requires_grad_(False).to(device)
    return made.at(config.view.view())


def is_bundle(base: str) -> bool:
    """Whether ``base`` is not the folder of a transformers model."""
    return not (Path(base) / "config.json").is_file() or (Path(base) / manifest.NAME).is_file()


def _from_model(config: TrainingConfig) -> Fwd2BotCompressor:
    from fwd2bot_core.compressor.families.opening import open_model

    said = {"k": PLAIN_K, "rank": PLAIN_RANK} | _said(config)
    said.setdefault("alpha", 2.0 * said["rank"])
    opened = open_model(config.base, dtype=config.training.dtype)
    method = opened.method(**said)
    return Fwd2BotCompressor(opened.net(method), opened.tokenizer, _nested(config, method), UNFINISHED)


def _from_bundle(config: TrainingConfig) -> Fwd2BotCompressor:
    base = load_bundle(config.base, trainable=True)
    dtype = config.training.dtype or base.method.dtype
    method = _nested(config, replace(base.method, **_said(config), dtype=dtype, trained_k=()))
    if not config.method.fresh and (method.rank, method.alpha) != (base.method.rank, base.method.alpha):
        raise SettingsError(
            f"method.rank and method.alpha: the adapters of {config.base} have {base.method.rank} and "
            f"{base.method.alpha:g}; leave both out, or set method.fresh = true for new adapters"
        )
    lvlm = cast(base.net.lvlm.base, getattr(torch, method.dtype))
    net = DoubleForward(lvlm, method, script(base.tokenizer, method))
    if not config.method.fresh:
        _continue(net, base.net)
    asked = base.fidelity_probes
    return Fwd2BotCompressor(net, base.tokenizer, method, UNFINISHED, fidelity_probes=asked)


def _said(config: TrainingConfig) -> dict[str, Any]:
    """The method's settings that the configuration names."""
    method = config.method.model_dump(exclude={"nested_k", "fresh"}, exclude_none=True)
    return {**method, "name": config.name, "demonstration_only": config.demonstration_only}


def _nested(config: TrainingConfig, method: Method) -> Method:
    """With the prefixes that are to be trained, longest first."""
    nested = sorted({*config.method.nested_k} - {method.k}, reverse=True)
    if nested and nested[0] > method.k:
        raise SettingsError(f"method.nested_k: {nested[0]} is more than k, which is {method.k}")
    return replace(method, trained_k=tuple(nested))


def _continue(net: DoubleForward, base: DoubleForward) -> None:
    """The base's pairs and summary tokens; tokens beyond the base's are new."""
    with torch.no_grad():
        old = base.own_parameters()
        for name, p in net.own_parameters().items():
            rows = min(len(p), len(old[name])) if name == "summary_tokens" else len(p)
            p[:rows] = old[name][:rows]


def projector(net: DoubleForward) -> dict[str, nn.Parameter]:
    """The parameters between vision tower and language model; raises ``CompressorError`` if none is known."""
    found: dict[str, nn.Parameter] = {}
    for name, module in net.lvlm.base.named_modules():
        if name.rsplit(".", 1)[-1] in PROJECTORS:
            found |= {f"projector.{name}.{own}": p for own, p in module.named_parameters()}
    if not found:
        raise CompressorError(
            f"training.train: no projector is known in a {type(net.lvlm.base).__name__}; leave it out"
        )
    return found


def checkpoint_gradients(net: DoubleForward) -> None:
    """Trade time for memory in both passes; the stage is the view that is called, so it cannot be confused."""
    for view in net.lvlm.views.values():
        model: Any = view
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.train()


def look(compressor: Fwd2BotCompressor, images: Sequence[Prepared]) -> tuple[list[Any], list[int]]:
    """Every crop of ``images`` in stacks of equal shape, and where in the stacks, one after the other, each lies."""
    stacks = compressor.stacks(images)
    rows = [row for group, _ in stacks for row in group]
    return [stack for _, stack in stacks], sorted(range(len(rows)), key=rows.__getitem__)

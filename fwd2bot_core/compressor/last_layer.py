"""The last decoder layer, run only where its states are wanted.

Whoever wants the last k states of a sequence needs the last layer's keys and values everywhere, but its queries,
its attention and its MLP at those k positions alone. For the time of one call a hook of torch's own narrows that
layer: it is shown the positions before the last k, with a cache that takes their keys and values and stops it
there, and then runs over the last k with that cache. Nothing of ``transformers`` is changed, and no layer's inside
is known. A layer that is called in a way not foreseen here runs whole: the same states, more slowly.
Knows nothing of stages, images or summaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_PLACES = {
    "position_embeddings": -2,
    "position_ids": -1,
}  # the dimension of positions in what a layer is given


@contextmanager
def only_last(model: nn.Module, k: int, *, added: int = 0) -> Iterator[None]:
    """Inside, the decoder ``model`` may give the last ``k`` states alone, the same as it would without.

    ``added``: how many of its first layers have something added to the states that they give. Changes nothing in
    training, which keeps the plain graph and draws the same dropout with and without gradients, nor in a compiled
    model, which does not look for hooks again.
    """
    layers = getattr(model, "layers", None)
    if not isinstance(layers, nn.ModuleList) or added >= len(layers) or _fixed(model):
        yield
        return

    def narrow(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _narrowed(layer, k, args, kwargs)

    handle = layers[-1].register_forward_pre_hook(narrow, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _fixed(model: nn.Module) -> bool:
    compiled = hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None
    return compiled or torch.compiler.is_compiling() or model.training or torch.is_grad_enabled()


class _Stopped(Exception):
    """Leaves a layer once its keys and values are known."""


class _Ahead:
    """What a layer takes for its cache: at first it keeps keys and values and stops, then it adds to them."""

    def __init__(self) -> None:
        self._kept: tuple[torch.Tensor, ...] = ()

    def update(self, *states: Any, **_: Any) -> tuple[torch.Tensor, ...]:
        """Of keys and values [B, heads, L, width], as ``transformers.Cache.update`` has them."""
        given = states[:2]
        if not self._kept:
            self._kept = given
            raise _Stopped
        return tuple(torch.cat(pair, dim=-2) for pair in zip(self._kept, given, strict=True))


def _narrowed(layer: nn.Module, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The layer's arguments for the last ``k`` positions alone; None leaves them as they are."""
    if len(args) != 1 or kwargs.get("cache") is not None or k >= args[0].shape[1]:
        return None
    states = args[0]  # [B, L, d]
    mask = _mask(layer, kwargs.get("attention_mask"), k, states)
    before = states.shape[1] - k
    others = {name: value for name, value in kwargs.items() if name != "attention_mask"}
    if mask is None or not all(_foreseen(name, value, before + k) for name, value in others.items()):
        return None
    cache = _Ahead()
    head = _cut(others, 0, before) | {"attention_mask": None, "cache": cache}
    tail = _cut(others, before, k) | {"attention_mask": mask, "cache": cache}
    try:
        layer.forward(states[:, :before], **head)
    except _Stopped:
        return (states[:, before:],), tail
    return None  # it keeps no keys and values of its own


def _mask(layer: nn.Module, given: Any, k: int, states: torch.Tensor) -> torch.Tensor | None:
    """Who is seen from the last ``k`` positions, [B or 1, heads or 1, k, L]; None where that is not known."""
    length = states.shape[1]
    if isinstance(given, torch.Tensor) and given.shape[2:] == (length, length):
        return given[:, :, -k:]
    attention = getattr(layer, "self_attn", None)
    attends = getattr(getattr(attention, "config", None), "_attn_implementation", None)
    if given is None and attends == "sdpa" and getattr(attention, "is_causal", False):
        everyone = torch.ones(k, length, dtype=torch.bool, device=states.device)
        return everyone.tril(length - k)[None, None]
    return None


def _foreseen(name: str, value: Any, length: int) -> bool:
    """Whether it is known how to cut an argument: by its place, or not at all since it holds no tensors."""
    if name not in _PLACES:
        return not isinstance(value, torch.Tensor | tuple | list | dict)
    return all(part is None or part.shape[_PLACES[name]] == length for part in _parts(value))


def _cut(kwargs: dict[str, Any], start: int, length: int) -> dict[str, Any]:
    """``kwargs`` for ``length`` positions from ``start`` on."""

    def of(name: str, value: Any) -> Any:
        cut = tuple(
            part if part is None else part.narrow(_PLACES[name], start, length) for part in _parts(value)
        )
        return cut if isinstance(value, tuple) else cut[0]

    return {name: of(name, value) if name in _PLACES else value for name, value in kwargs.items()}


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)

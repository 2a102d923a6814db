"""What a ``transformers`` model makes of pixels, and how its language model wants an image to be presented.

    see       pixels -> Image            the model's own vision tower and projector
    present   head, image, tail -> embeddings and options for the language model

Each difference between families is found in the model itself (a rope index, deepstack features, masks of its own),
not in a list of names, wherever the model says it. Knows how such models are put together. Knows nothing of prompts.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from fwd2bot_core.compressor.families.eyes import TILE, PixelBatch
from fwd2bot_core.compressor.families.visual import Image, Visual, span, tokens_of
from fwd2bot_core.errors import CompressorError


@dataclass(frozen=True, slots=True)
class Presented:
    """A sequence for the language model: embeddings [B, L, d], what goes with them, and the position after it."""

    embeddings: torch.Tensor
    options: dict[str, Any] = field(default_factory=dict)
    end: int = 0


def language_model(model: PreTrainedModel) -> nn.Module:
    """The part that reads; raises ``CompressorError`` for a model that has no eyes or no such part."""
    inner = getattr(model, "model", None)
    found = getattr(inner, "language_model", None) or getattr(inner, "text_model", None)
    if found is None or not hasattr(inner, "get_image_features") or model.get_output_embeddings() is None:
        raise CompressorError(
            f"{type(model).__name__} is no image-text-to-text model that Fwd2Bot can use: use one that transformers "
            "loads with AutoModelForImageTextToText, for instance of the LLaVA, Qwen-VL, Idefics3, SmolVLM, "
            "PaliGemma, Gemma 3 or InternVL families"
        )
    return found  # type: ignore[no-any-return]


def one_after_the_other(view: nn.Module) -> nn.Module:
    """A view whose tokens see no later ones unless a mask says so, changed in place.

    PaliGemma's language model is told otherwise: without a mask, which its own forward always brings, all tokens
    would see all, and a summary token those after it.
    """
    for module in view.modules():
        if getattr(module, "is_causal", None) is False:
            module.is_causal = True  # type: ignore[assignment]
    return view


def reads_images_both_ways(model: PreTrainedModel) -> bool:
    """Whether image tokens may look at later ones: such a model makes masks of its own."""
    return hasattr(type(model), "create_masks_for_generate")


def reads_prompts_both_ways(model: PreTrainedModel) -> bool:
    """Whether all that stands before an answer may look at all of it, and not the image alone."""
    return bool(model.config.model_type == "paligemma")


def see(model: PreTrainedModel, pixels: torch.Tensor | PixelBatch) -> Image:
    """Visual tokens after the projector, of normalised pixels [B, 3, H, W] or whatever the family's eye gave."""
    if isinstance(pixels, torch.Tensor):
        pixels = PixelBatch({"pixel_values": pixels}, (), len(pixels))
    known = inspect.signature(model.model.get_image_features).parameters
    given = {name: _as(model.dtype, value) for name, value in pixels.values.items() if name in known}
    found = model.model.get_image_features(**given, return_dict=True)
    tokens = _rows(found.pooler_output, pixels.count)
    deep = tuple(_rows(layer, pixels.count) for layer in getattr(found, "deepstack_features", None) or ())
    if pixels.layout:
        tokens = _laid_out(model, tokens, pixels.layout)
    positions = _positions(model, given, tokens)
    if positions is None and not deep and not reads_images_both_ways(model):
        return tokens
    return Visual(tokens, positions, deep)


def present(
    model: PreTrainedModel,
    head: torch.Tensor,
    image: Image,
    tail: torch.Tensor,
    *,
    causal: int = 0,
    cache: Any = None,
) -> Presented:
    """``head`` [H, d], the image, ``tail`` [B, L, d] as one sequence, as the family's own forward would have it.

    ``causal``: how many of the last tokens follow one another even where the family reads a prompt both ways.
    """
    tokens = tokens_of(image)
    count, before, shown, after = len(tokens), len(head), tokens.shape[1], tail.shape[1]
    whole = torch.cat([head.expand(count, -1, -1), tokens, tail], dim=1)
    end = before + span(image) + after
    if not isinstance(image, Visual):
        return Presented(whole, {}, end)
    where = torch.zeros(whole.shape[:2], dtype=torch.bool, device=whole.device)  # [B, L]
    where[:, before : before + shown] = True
    options: dict[str, Any] = {}
    if image.positions is not None:
        options["position_ids"] = _around(image.positions, before, after, end).expand(-1, count, -1)
    if image.deep:
        options["visual_pos_masks"] = where
        options["deepstack_visual_embeds"] = [layer.flatten(0, 1) for layer in image.deep]
    if reads_images_both_ways(model):
        options["attention_mask"] = _both_ways(model, whole, where, causal, cache)
    return Presented(whole, options, end)


def _as(dtype: torch.dtype, value: torch.Tensor) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _rows(features: Any, count: int) -> torch.Tensor:
    """[B, T, d] of features that come as one tensor, or as one of each image."""
    whole = features if isinstance(features, torch.Tensor) else torch.stack(tuple(features))
    return whole.reshape(count, -1, whole.shape[-1])


def _laid_out(model: PreTrainedModel, tokens: torch.Tensor, layout: tuple[int, ...]) -> torch.Tensor:
    """Tiles' tokens [B, T, d] with the embedded marks of ``layout`` between them."""
    ids = torch.tensor(layout, device=tokens.device)
    each = tokens.shape[1] // int((ids == TILE).sum())
    ids = ids.repeat_interleave(torch.where(ids == TILE, each, 1))  # [L]
    marks: torch.Tensor = model.get_input_embeddings()(ids.clamp_min(0)).to(tokens.dtype)  # [L, d]
    return marks.expand(len(tokens), -1, -1).index_copy(1, (ids == TILE).nonzero()[:, 0], tokens)


def _positions(
    model: PreTrainedModel, given: dict[str, torch.Tensor], tokens: torch.Tensor
) -> torch.Tensor | None:
    """[3, T] for a model with positions in three directions."""
    if not hasattr(model.model, "get_rope_index"):
        return None
    ids = torch.zeros(1, tokens.shape[1], dtype=torch.long, device=tokens.device)
    found, _ = model.model.get_rope_index(
        ids, mm_token_type_ids=torch.ones_like(ids), image_grid_thw=given["image_grid_thw"][:1]
    )
    return found[:, 0]  # type: ignore[no-any-return]


def _around(positions: torch.Tensor, before: int, after: int, end: int) -> torch.Tensor:
    """[3, 1, L] for a whole sequence: text before, the image, text after it up to ``end``."""
    text = torch.arange(end, device=positions.device).expand(3, -1)
    return torch.cat([text[:, :before], positions + before, text[:, end - after :]], dim=1)[:, None]


def _both_ways(
    model: PreTrainedModel, whole: torch.Tensor, where: torch.Tensor, causal: int, cache: Any
) -> Any:
    """The family's own mask."""
    types = where.long()
    if reads_prompts_both_ways(model):
        types = torch.zeros_like(types)
        types[:, types.shape[1] - causal :] = 1
    return type(model).create_masks_for_generate(
        config=model.config,
        inputs_embeds=whole,
        attention_mask=None,
        cache=cache,
        position_ids=None,
        token_type_ids=types,
    )

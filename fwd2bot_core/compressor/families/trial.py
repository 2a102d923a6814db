"""Does what we feed a language model agree with what the model's own forward feeds it?

The answer for families that nobody has looked at. It cannot see what a family's processor writes around an image or
between its tiles: that is the question template's. Knows both ways to ask. Knows nothing of stages.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from fwd2bot_core.compressor.families import seeing
from fwd2bot_core.compressor.families.eyes import TILE, PixelBatch
from fwd2bot_core.compressor.families.visual import Image, tokens_of


@torch.no_grad()
def difference(
    model: PreTrainedModel, pixels: torch.Tensor | PixelBatch, before: Sequence[int], after: Sequence[int]
) -> float:
    """The largest difference of the last states, ours to the model's own, for ids ``before`` and ``after`` an image;
    as a share of the largest state."""
    image = seeing.see(model, pixels)
    device = image.device
    embed = model.get_input_embeddings()
    head, tail = (embed(torch.tensor(list(ids), dtype=torch.long, device=device)) for ids in (before, after))
    posed = seeing.present(model, head, image, tail.expand(len(image), -1, -1))
    ours = seeing.language_model(model)(inputs_embeds=posed.embeddings, use_cache=False, **posed.options)
    given = inputs(model, pixels, image, before, after)
    theirs = model.model(use_cache=False, **given).last_hidden_state
    gap = (ours.last_hidden_state - theirs)[:, -len(after) :].abs().max() / theirs.abs().max()
    return float(gap)


def inputs(
    model: PreTrainedModel,
    pixels: torch.Tensor | PixelBatch,
    image: Image,
    before: Sequence[int],
    after: Sequence[int],
) -> dict[str, torch.Tensor]:
    """What the model's own forward takes: ids [B, L] with placeholders where ``image`` has tokens, and the pixels."""
    batch = (
        pixels if isinstance(pixels, PixelBatch) else PixelBatch({"pixel_values": pixels}, (), len(pixels))
    )
    mark = int(getattr(model.config, "image_token_id", None) or model.config.image_token_index)
    length = tokens_of(image).shape[1]
    places = [mark] * length
    if batch.layout:
        tiles = batch.layout.count(TILE)
        each = (length - len(batch.layout) + tiles) // tiles
        places = [i for token in batch.layout for i in ([mark] * each if token == TILE else [token])]
    ids = torch.tensor([[*before, *places, *after]] * batch.count, device=image.device)
    shown = (ids == mark).long()
    known = inspect.signature(model.model.forward).parameters
    more = {
        **{name: value for name, value in batch.values.items() if name != "batch_num_images"},
        "mm_token_type_ids": shown,
        "token_type_ids": torch.zeros_like(ids) if seeing.reads_prompts_both_ways(model) else shown,
    }
    return {"input_ids": ids} | {name: value for name, value in more.items() if name in known}

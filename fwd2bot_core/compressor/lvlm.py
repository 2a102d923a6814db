"""A ``transformers`` LLaVA-class model, seen as four plain functions.

    visual   pixels [B, 3, H, W]               -> visual tokens [B, T, d], after the projector
    embed    ids [B, L]                        -> embeddings [B, L, d]
    hidden   stage, embeddings [B, L, d]       -> post-norm states [B, L, d]; the backbone only, no logits
    logits   states [..., d]                   -> [..., vocabulary]

Knows how such a model is put together. Knows nothing of prompts, bottlenecks, tokenizers or files.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch import nn
from transformers import LlavaForConditionalGeneration

from fwd2bot_core.compressor import adapters
from fwd2bot_core.errors import CompressorError


class Stage(StrEnum):
    """Who is speaking: the model as it came, or with the adapters of one of the two passes."""

    BASE = "base"
    COMPRESS = "compress"  # pass 1
    ANSWER = "answer"  # pass 2


class Lvlm(nn.Module):
    """The model and its two adapted views. ``base`` keeps the unadapted model whole."""

    def __init__(self, model: LlavaForConditionalGeneration, *, rank: int, alpha: float) -> None:
        """Raises ``CompressorError`` for anything that is not a LLaVA-class model."""
        super().__init__()
        if not isinstance(model, LlavaForConditionalGeneration):
            raise CompressorError(
                f"{type(model).__name__} is not a LLaVA-class model: use one that transformers loads as "
                "LlavaForConditionalGeneration"
            )
        self.base = model
        language_model = model.model.language_model
        self.views = nn.ModuleDict(
            {
                stage.value: adapters.view(language_model, rank=rank, alpha=alpha)
                for stage in (Stage.COMPRESS, Stage.ANSWER)
            }
        )

    @property
    def width(self) -> int:
        """d, the numbers of one token."""
        return int(self.base.config.text_config.hidden_size)

    @property
    def bos(self) -> int | None:
        """The id that opens a sequence, where the model has one."""
        token: int | None = self.base.config.text_config.bos_token_id
        return token

    @property
    def eos(self) -> frozenset[int]:
        """The ids that end an answer."""
        token = self.base.config.text_config.eos_token_id
        return frozenset() if token is None else frozenset([token] if isinstance(token, int) else token)

    def visual(self, pixels: torch.Tensor) -> torch.Tensor:
        """Visual tokens [B, T, d] of normalised ``pixels`` [B, 3, H, W]."""
        tokens = self.base.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        return torch.stack(tuple(tokens))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings [..., d] of token ids [...]."""
        embedded: torch.Tensor = self.base.get_input_embeddings()(ids)
        return embedded

    def hidden(self, stage: Stage, embeddings: torch.Tensor, **options: Any) -> torch.Tensor:
        """Post-norm last hidden states [B, L, d] under the adapters of ``stage``.

        ``options`` go to the language model as they are: attention_mask, position_ids, cache.
        """
        model = self.base.model.language_model if stage is Stage.BASE else self.views[stage.value]
        options.setdefault("use_cache", "cache" in options)
        states: torch.Tensor = model(inputs_embeds=embeddings, **options).last_hidden_state
        return states

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Scores [..., vocabulary] of the next token after each state [..., d]."""
        scores: torch.Tensor = self.base.lm_head(states)
        return scores

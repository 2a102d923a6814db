"""Any ``transformers`` image-text-to-text model, seen as a few plain functions.

    visual   normalised pixels                 -> an image [B, T, d], after the projector (``families.visual``)
    embed    ids [B, L]                        -> embeddings [B, L, d]
    present  head, image, tail                 -> embeddings [B, L, d] and what their family needs beside them
    hidden   stage, embeddings [B, L, d]       -> post-norm states [B, L, d]; the backbone only, no logits
    logits   states [..., d]                   -> [..., vocabulary]

Knows the stages and their views. Knows nothing of what differs between families (``families.seeing``), nor of prompts,
bottlenecks, tokenizers or files.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from fwd2bot_core.compressor import adapters
from fwd2bot_core.compressor.families import seeing
from fwd2bot_core.compressor.families.eyes import PixelBatch
from fwd2bot_core.compressor.families.seeing import Presented
from fwd2bot_core.compressor.families.visual import Image, span, tokens_of
from fwd2bot_core.compressor.last_layer import only_last


class Stage(StrEnum):
    """Who is speaking: the model as it came, or with the adapters of one of the two passes."""

    BASE = "base"
    COMPRESS = "compress"  # pass 1
    ANSWER = "answer"  # pass 2


class Lvlm(nn.Module):
    """The model and its two adapted views. ``base`` keeps the unadapted model whole."""

    def __init__(self, model: PreTrainedModel, *, rank: int, alpha: float) -> None:
        """Raises ``CompressorError`` for anything that is not an image-text-to-text model."""
        super().__init__()
        language_model = seeing.language_model(model)
        self.base = model
        self.views = nn.ModuleDict(
            {
                stage.value: seeing.one_after_the_other(adapters.view(language_model, rank=rank, alpha=alpha))
                for stage in (Stage.COMPRESS, Stage.ANSWER)
            }
        )

    @property
    def width(self) -> int:
        """d, the numbers of one token."""
        return int(self._text.hidden_size)

    @property
    def bos(self) -> int | None:
        """The id that opens a sequence, where the model has one."""
        token: int | None = self._text.bos_token_id
        return token

    @property
    def eos(self) -> frozenset[int]:
        """The ids that end an answer."""
        token = self._text.eos_token_id
        return frozenset() if token is None else frozenset([token] if isinstance(token, int) else token)

    @property
    def reads_prompts_both_ways(self) -> bool:
        """Whether an image's tokens may look at the question after it, so that they are not the same for each."""
        return seeing.reads_prompts_both_ways(self.base)

    def visual(self, pixels: torch.Tensor | PixelBatch) -> Image:
        """The image [B, T, d] of normalised ``pixels``: [B, 3, H, W], or what the family's eye stacked."""
        return seeing.see(self.base, pixels)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings [..., d] of token ids [...]."""
        embedded: torch.Tensor = self.base.get_input_embeddings()(ids)
        return embedded

    def present(
        self,
        head: torch.Tensor,
        image: Image,
        tail: torch.Tensor,
        *,
        causal: int = 0,
        cache: DynamicCache | None = None,
    ) -> Presented:
        """One sequence of ``head`` [H, d], the image and ``tail`` [B, L, d], whose last ``causal`` tokens follow one
        another in every family; its options are for ``hidden``."""
        return seeing.present(self.base, head, image, tail, causal=causal, cache=cache)

    def onward(self, image: Image, cache: DynamicCache, length: int) -> dict[str, Any]:
        """Options for ``hidden`` of ``length`` more tokens after a sequence with ``image`` that is in ``cache``."""
        left_out = tokens_of(image).shape[1] - span(image)
        if not left_out:
            return {}
        start = cache.get_seq_length() - left_out
        return {"position_ids": torch.arange(start, start + length, device=image.device)[None]}

    def cache(self) -> DynamicCache:
        """An empty one, as this model's layers want it."""
        return DynamicCache(config=self._text)

    def hidden(self, stage: Stage, embeddings: torch.Tensor, **options: Any) -> torch.Tensor:
        """Post-norm last hidden states [B, L, d] under the adapters of ``stage``.

        ``options`` go to the language model as they are: attention_mask, position_ids, cache.
        """
        options.setdefault("use_cache", "cache" in options)
        states: torch.Tensor = self._reader(stage)(inputs_embeds=embeddings, **options).last_hidden_state
        return states

    def last_hidden(self, stage: Stage, embeddings: torch.Tensor, k: int, **options: Any) -> torch.Tensor:
        """The last ``k`` of those states [B, k, d]; without gradients, the last layer computes no others."""
        deep = len(options.get("deepstack_visual_embeds") or ())
        with only_last(self._reader(stage), k, added=deep):
            return self.hidden(stage, embeddings, **options)[:, -k:]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Scores [..., vocabulary] of the next token after each state [..., d]."""
        scores: torch.Tensor = self.base.get_output_embeddings()(states)
        cap = getattr(self._text, "final_logit_softcapping", None)
        return scores if cap is None else cap * torch.tanh(scores / cap)

    def _reader(self, stage: Stage) -> nn.Module:
        return seeing.language_model(self.base) if stage is Stage.BASE else self.views[stage.value]

    @property
    def _text(self) -> Any:
        return self.base.config.get_text_config()

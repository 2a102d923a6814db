"""The double forward pass as one torch module, for training and for use.

    pass 1   [BOS][visual tokens][prompt][k summary tokens]  -> the k last states, post-norm, unchanged
    pass 2   [BOS][those k states][question]                 -> the answer

Both passes lie in one graph when gradients are on. Knows tensors and token ids. Knows nothing of files,
numpy, images or words as strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, LlavaForConditionalGeneration

from fwd2bot_core.compressor import adapters
from fwd2bot_core.compressor.lvlm import Lvlm, Stage
from fwd2bot_core.compressor.method import Method


@dataclass(frozen=True, slots=True)
class Script:
    """Token ids around the image: before it (both passes) and pass 1's prompt after it."""

    before: tuple[int, ...]
    prompt: tuple[int, ...]


def script(tokenizer: Tokenizer, method: Method) -> Script:
    """The ids of a method's texts, under its tokenizer."""
    before = method.question_template.split("<image>")[0]
    encode = tokenizer.encode
    return Script(
        before=tuple(encode(before, add_special_tokens=False).ids),
        prompt=tuple(encode(method.prompt, add_special_tokens=False).ids),
    )


class DoubleForward(nn.Module):
    """One LVLM, two adapted views of it, and k learnable summary tokens."""

    before: torch.Tensor
    prompt: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: LlavaForConditionalGeneration, method: Method, script: Script) -> None:
        super().__init__()
        self.lvlm = Lvlm(model, rank=method.rank, alpha=method.alpha)
        like = model.get_input_embeddings().weight
        self.summary_tokens = nn.Parameter(
            torch.randn(method.k, self.lvlm.width, dtype=like.dtype) * float(like.detach().float().std())
        )
        bos = () if self.lvlm.bos is None else (self.lvlm.bos,)
        self.register_buffer(
            "before", torch.tensor([*bos, *script.before], dtype=torch.long), persistent=False
        )
        self.register_buffer("prompt", torch.tensor(script.prompt, dtype=torch.long), persistent=False)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(method, name), dtype=like.dtype)[:, None, None]
            self.register_buffer(name, values, persistent=False)
        self.to(like.device)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """What training the bottleneck learns and a bundle's adapters hold: pairs and summary tokens."""
        own = {"summary_tokens": self.summary_tokens}
        for stage, view in self.lvlm.views.items():
            own |= {f"{stage}.{name}": p for name, p in adapters.pairs(view).items()}
        return own

    def merge(self) -> None:
        """Fold both stages' pairs into weights of their own; for inference only."""
        for view in self.lvlm.views.values():
            adapters.merge(view)

    def visual(self, pixels: torch.Tensor) -> torch.Tensor:
        """Visual tokens [B, T, d] of ``pixels`` [B, 3, H, W], uint8."""
        return self.lvlm.visual(self.normalised(pixels))

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the vision tower takes: ``pixels`` less the mean over the deviation, in the model's dtype."""
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std

    def summarise(self, visual: torch.Tensor, **options: Any) -> torch.Tensor:
        """Pass 1: summary tokens [B, k, d] of visual tokens [B, T, d]."""
        k = len(self.summary_tokens)
        tail = torch.cat([self.lvlm.embed(self.prompt), self.summary_tokens])  # [P + k, d]
        sequence = torch.cat([self._head(visual), visual, tail.expand(len(visual), -1, -1)], dim=1)
        return self.lvlm.hidden(Stage.COMPRESS, sequence, **options)[:, -k:]

    def summarise_text(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """The same for a text: states [B, k, d] of ids [B, L], left-padded where ``mask`` [B, L] is 0."""
        k = len(self.summary_tokens)
        sequence = torch.cat([self.lvlm.embed(ids), self.summary_tokens.expand(len(ids), -1, -1)], dim=1)
        options: dict[str, Any] = {}
        if mask is not None:
            whole = F.pad(mask, (0, k), value=1)
            options = {"attention_mask": whole, "position_ids": (whole.cumsum(-1) - 1).clamp_min(0)}
        return self.lvlm.hidden(Stage.COMPRESS, sequence, **options)[:, -k:]

    def question(self, image: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Pass 2's input: ``image`` [B, T or k, d] (visual or summary tokens), then ``ids`` [B, L]."""
        return torch.cat([self._head(image), image, self.lvlm.embed(ids)], dim=1)

    def greedy(
        self, stage: Stage, image: torch.Tensor, ids: torch.Tensor, limit: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest answers, word by word: ids [B, N] and their probabilities [B, N], N <= ``limit``.

        Rows that end early are followed by what must be ignored: everything after their first end id.
        """
        eos = torch.tensor(sorted(self.lvlm.eos), device=ids.device)
        cache = DynamicCache(config=self.lvlm.base.config.text_config)
        step, said, sure = self.question(image, ids), [], []
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for _ in range(limit):
            states = self.lvlm.hidden(stage, step, cache=cache)[:, -1]  # [B, d]
            probability, token = self.lvlm.logits(states).float().softmax(-1).max(-1)  # [B]
            said.append(token)
            sure.append(probability)
            done |= torch.isin(token, eos)
            if done.all():
                break
            step = self.lvlm.embed(token[:, None])
        return torch.stack(said, 1), torch.stack(sure, 1)

    def _head(self, image: torch.Tensor) -> torch.Tensor:
        return self.lvlm.embed(self.before).expand(len(image), -1, -1)


def pool(states: torch.Tensor) -> torch.Tensor:
    """The vector [B, d] that search compares: the mean of the k states [B, k, d], L2-normalised, float32."""
    return F.normalize(states.float().mean(dim=1), dim=-1)

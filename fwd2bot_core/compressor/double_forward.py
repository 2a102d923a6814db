"""The double forward pass as one torch module, for training and for use.

    pass 1   [BOS][visual tokens][prompt][k summary tokens]  -> the k last states, post-norm, unchanged
    pass 2   [BOS][those k states][question]                 -> the answer

Both passes lie in one graph when gradients are on. Knows tensors and token ids. Knows nothing of files,
numpy, images or words as strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from fwd2bot_core.compressor import adapters
from fwd2bot_core.compressor.families.eyes import PixelBatch
from fwd2bot_core.compressor.families.seeing import Presented
from fwd2bot_core.compressor.families.visual import Image
from fwd2bot_core.compressor.lvlm import Lvlm, Stage
from fwd2bot_core.compressor.method import Method


@dataclass(frozen=True, slots=True)
class Script:
    """Token ids around the image: before it (both passes), pass 1's prompt after it and pass 2's template after it."""

    before: tuple[int, ...]
    prompt: tuple[int, ...]
    after: tuple[int, ...] = ()

    def opens_itself(self, bos: int) -> bool:
        """Whether the texts say themselves where a sequence's opening goes (PaliGemma's goes after the image)."""
        return bos in (*self.before, *self.prompt, *self.after)


def script(tokenizer: Tokenizer, method: Method) -> Script:
    """The ids of a method's texts, under its tokenizer."""
    before, after = method.question_template.split("<image>")
    texts = {"before": before, "prompt": method.prompt, "after": after.replace("{question}", "")}
    return Script(
        **{name: tuple(tokenizer.encode(text, add_special_tokens=False).ids) for name, text in texts.items()}
    )


class DoubleForward(nn.Module):
    """One LVLM, two adapted views of it, and k learnable summary tokens."""

    before: torch.Tensor
    prompt: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: PreTrainedModel, method: Method, script: Script) -> None:
        super().__init__()
        self.lvlm = Lvlm(model, rank=method.rank, alpha=method.alpha)
        like = model.get_input_embeddings().weight
        self.summary_tokens = nn.Parameter(
            torch.randn(method.k, self.lvlm.width, dtype=like.dtype) * self._spread(like)
        )
        opening = self.lvlm.bos
        bos = () if opening is None or script.opens_itself(opening) else (opening,)
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

    @overload
    def visual(self, pixels: torch.Tensor) -> torch.Tensor: ...

    @overload
    def visual(self, pixels: PixelBatch) -> Image: ...

    def visual(self, pixels: torch.Tensor | PixelBatch) -> Image:
        """The image [B, T, d] of ``pixels``: [B, 3, H, W] uint8, or what the family's own eye stacked.

        A family whose pictures are fitted to one size needs nothing beside tokens, which are a plain tensor then.
        """
        return self.lvlm.visual(self.normalised(pixels) if isinstance(pixels, torch.Tensor) else pixels)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the vision tower takes: ``pixels`` less the mean over the deviation, in the model's dtype."""
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std

    def summarise(self, visual: Image, k: int | None = None, **options: Any) -> torch.Tensor:
        """Pass 1: summary tokens [B, k, d] of an image [B, T, d]; the first ``k`` of all, or all.

        A shorter summary is the beginning of the longer one, since no token sees those after it.
        """
        asked = self._asking(k)
        tail = torch.cat([self.lvlm.embed(self.prompt), asked])  # [P + k, d]
        posed = self.lvlm.present(self._head(), visual, tail.expand(len(visual), -1, -1), causal=len(asked))
        options = {**posed.options, **options}
        return self.lvlm.last_hidden(Stage.COMPRESS, posed.embeddings, len(asked), **options)

    def summarise_text(
        self, ids: torch.Tensor, mask: torch.Tensor | None = None, k: int | None = None, **options: Any
    ) -> torch.Tensor:
        """The same for a text: states [B, k, d] of ids [B, L], left-padded where ``mask`` [B, L] is 0."""
        asked = self._asking(k)
        sequence = torch.cat([self.lvlm.embed(ids), asked.expand(len(ids), -1, -1)], dim=1)
        if mask is not None:
            whole = F.pad(mask, (0, len(asked)), value=1)
            told = {"attention_mask": whole, "position_ids": (whole.cumsum(-1) - 1).clamp_min(0)}
            options = {**told, **options}
        return self.lvlm.last_hidden(Stage.COMPRESS, sequence, len(asked), **options)

    def question(self, image: Image, ids: torch.Tensor) -> torch.Tensor:
        """Pass 2's input: ``image`` [B, T or k, d] (visual or summary tokens), then ``ids`` [B, L].

        All that ``Lvlm.hidden`` needs for summary tokens; visual tokens are read with ``read``.
        """
        return self.posed(image, ids).embeddings

    def posed(self, image: Image, ids: torch.Tensor, *, causal: int = 0, cache: Any = None) -> Presented:
        """The same with the options that ``image`` needs. The last ``causal`` ids are an answer's."""
        return self.lvlm.present(self._head(), image, self.lvlm.embed(ids), causal=causal, cache=cache)

    def read(
        self, stage: Stage, image: Image, ids: torch.Tensor, *, causal: int = 0, cache: Any = None
    ) -> torch.Tensor:
        """States [B, L, d] at ``ids`` [B, L] after ``image``, for any stage and any family; as ``posed``."""
        posed = self.posed(image, ids, causal=causal, cache=cache)
        options = posed.options if cache is None else {**posed.options, "cache": cache}
        return self.lvlm.hidden(stage, posed.embeddings, **options)[
            :, posed.embeddings.shape[1] - ids.shape[1] :
        ]

    def greedy(
        self, stage: Stage, image: Image, ids: torch.Tensor, limit: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest answers, word by word: ids [B, N] and their probabilities [B, N], N <= ``limit``.

        Rows that end early are followed by what must be ignored: everything after their first end id.
        """
        eos = torch.tensor(sorted(self.lvlm.eos), device=ids.device)
        cache, said, sure = self.lvlm.cache(), [], []
        states = self.read(stage, image, ids, cache=cache)[:, -1]  # [B, d]
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        while True:
            probability, token = self.lvlm.logits(states).float().softmax(-1).max(-1)  # [B]
            said.append(token)
            sure.append(probability)
            done |= torch.isin(token, eos)
            if done.all() or len(said) == limit:
                return torch.stack(said, 1), torch.stack(sure, 1)
            step = self.lvlm.embed(token[:, None])
            options = self.lvlm.onward(image, cache, 1)
            states = self.lvlm.hidden(stage, step, cache=cache, **options)[:, -1]

    def _head(self) -> torch.Tensor:
        """[H, d]."""
        return self.lvlm.embed(self.before)

    def _asking(self, k: int | None) -> torch.Tensor:
        """The first k summary tokens, as the model takes them [k, d]."""
        return self.summary_tokens if k is None else self.summary_tokens[:k]

    def _spread(self, like: torch.Tensor) -> float:
        """The deviation of what the language model is used to read; some families scale their embeddings."""
        few = torch.arange(min(len(like), 4096), device=like.device)
        with torch.no_grad():
            return float(self.lvlm.embed(few).float().std())


def pool(states: torch.Tensor) -> torch.Tensor:
    """The vector [B, d] that search compares: the mean of the k states [B, k, d], L2-normalised, float32."""
    return F.normalize(states.float().mean(dim=1), dim=-1)

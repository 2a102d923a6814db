"""Both losses of one step, over as many images as one likes: gradients are left in the parameters.

    answers    autoregressive, after pass 2, of each question from its own prefix of the summary tokens
    contrast   symmetric contrastive, after pass 1, of images and captions, at every trained prefix length

One pass 1 serves both: its states go into pass 2 in the same graph. A step that does not fit into memory is cut
into chunks, as in GradCache (Gao et al. 2021, arXiv 2101.06983): all pooled vectors are made without a graph, the
contrastive loss says what the gradient of each vector is, and each chunk then runs again with its graph and
receives its share. The gradients are those of the whole step at once.
Knows tensors. Knows nothing of files, words or optimisers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from fwd2bot_core.compressor import losses
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.training.chunks import Chunk
from fwd2bot_core.compressor.training.team import ALONE, Team
from fwd2bot_core.compressor.training.wording import Asked, Told
from fwd2bot_core.compressor.view import BUNDLES_OWN, View

COLDEST = 0.01  # the least temperature that may be learned: below it, float32 scores tell nothing apart


class Heat(nn.Module):
    """The temperature of the contrastive loss, as the logarithm of its inverse, learned or not."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.log = nn.Parameter(-torch.tensor(temperature).log())

    def forward(self) -> torch.Tensor:
        return torch.exp(-self.log).clamp_min(COLDEST)


@dataclass(frozen=True, slots=True)
class Vectors:
    """Pooled vectors at each of N prefix lengths: of images and their captions [C, N, d], of false captions."""

    images: torch.Tensor
    texts: torch.Tensor
    negatives: torch.Tensor

    def all(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.images, self.texts, self.negatives


@dataclass(frozen=True, slots=True)
class Weights:
    answers: float = 1.0
    contrast: float = 1.0


class Objective:
    def __init__(
        self,
        net: DoubleForward,
        heat: Heat,
        *,
        lengths: Sequence[int],
        weights: Weights,
        learn: Iterable[nn.Parameter] = (),
        see: bool = False,
        view: View = BUNDLES_OWN,
        team: Team = ALONE,
    ) -> None:
        """``lengths``: the prefixes of a crop's summary tokens that are pooled. ``learn``: whose gradients a ``team``
        sums. ``see``: whether what makes visual tokens is trained, too. ``view``: the crops that an image has."""
        self._net, self._heat, self._lengths, self._weights = net, heat, tuple(lengths), weights
        self._learn, self._see, self._view, self._team = list(learn), see, view, team

    def step(self, chunks: Sequence[Chunk], dice: int = 0) -> dict[str, torch.Tensor]:
        """The values of both losses, over the whole team; gradients are added to the parameters.

        ``dice`` seeds whatever the model draws (dropout), so that a chunk's two runs are the same.
        """
        values = {"answers": torch.zeros((), device=self._net.summary_tokens.device)}
        count = self._team.total(sum((chunk.share for chunk in chunks), values["answers"]))
        whole = self._run(chunks[0], dice) if len(chunks) == 1 else None
        grads: list[Vectors | None] = [None] * len(chunks)
        if self._weights.contrast:
            vectors = [whole[1]] if whole else [self._vectors(c, dice + i) for i, c in enumerate(chunks)]
            values["contrast"], grads = self._contrast(vectors, chunks)
        for i, (chunk, grad) in enumerate(zip(chunks, grads, strict=True)):
            answers, found = whole or self._run(chunk, dice + i)
            loss = answers * self._weights.answers / count.clamp_min(1)
            if grad is not None:
                pairs = zip(found.all(), grad.all(), strict=True)
                loss = loss + sum((vector * g).sum() for vector, g in pairs)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            values["answers"] = values["answers"] + answers.detach()
        values["answers"] = self._team.total(values["answers"]) / count.clamp_min(1)
        self._team.sum_gradients(self._learn)
        return {name: value for name, value in values.items() if getattr(self._weights, name)}

    def _run(self, chunk: Chunk, dice: int) -> tuple[torch.Tensor, Vectors]:
        """The sum of a chunk's answers' losses, and its vectors, in one graph."""
        torch.manual_seed(dice)
        states = self._summaries(chunk)
        vectors = self._pooled(chunk, states)
        return self._answers(chunk.asked, states[chunk.owners], chunk.lengths), vectors

    @torch.no_grad()
    def _vectors(self, chunk: Chunk, dice: int) -> Vectors:
        torch.manual_seed(dice)
        return self._pooled(chunk, self._summaries(chunk))

    def _summaries(self, chunk: Chunk) -> torch.Tensor:
        """Summary tokens [B, crops, k, d] of a chunk's images, whatever their shapes."""
        parts = []
        for look in chunk.looks:
            with torch.set_grad_enabled(self._see and torch.is_grad_enabled()):
                visual = self._net.visual(look)
            parts.append(self._net.summarise(visual))
        states = torch.cat(parts)[chunk.order]  # [B * crops, k, d]
        return states.view(-1, self._view.count, *states.shape[1:])

    def _answers(self, asked: Asked, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The losses of all answers (each the mean over its words), summed, from ``states`` [Q, crops, k, d]."""
        total = states.new_zeros((), dtype=torch.float32)
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero()[:, 0]
            ids, labels = asked.ids[rows], asked.labels[rows]  # [R, L]
            tokens = states[rows, :, :length].flatten(1, 2)  # [R, crops * length, d]
            hidden = self._net.lvlm.hidden(Stage.ANSWER, self._net.question(tokens, ids))
            said = labels != losses.IGNORE  # [R, L]
            logits = self._net.lvlm.logits(hidden[:, -ids.shape[1] :][said])  # [n, V]
            weights = (said / said.sum(1, keepdim=True))[said]  # [n], one answer's sum to one
            each = F.cross_entropy(logits.float(), labels[said], reduction="none")
            total = total + (each * weights).sum()
        return total

    def _pooled(self, chunk: Chunk, states: torch.Tensor) -> Vectors:
        nothing = states.new_zeros(0, len(self._lengths), states.shape[-1], dtype=torch.float32)
        if not self._weights.contrast or not len(chunk.captioned):
            return Vectors(nothing, nothing, nothing)
        false = self._prefixes(self._told(chunk.negatives)) if len(chunk.negatives.ids) else nothing
        meant = states[chunk.captioned, :1] if self._view.thumbnail else states[chunk.captioned]
        return Vectors(self._prefixes(meant), self._prefixes(self._told(chunk.captions)), false)

    def _told(self, told: Told) -> torch.Tensor:
        """[B, 1, k, d]: a text is seen whole."""
        return self._net.summarise_text(told.ids, told.mask)[:, None]

    def _prefixes(self, states: torch.Tensor) -> torch.Tensor:
        """[B, crops, k, d] -> [B, N, d], one pooled vector a prefix length."""
        return torch.stack([pool(states[:, :, :length].flatten(1, 2)) for length in self._lengths], dim=1)

    def _contrast(
        self, vectors: Sequence[Vectors], chunks: Sequence[Chunk]
    ) -> tuple[torch.Tensor, list[Vectors | None]]:
        """The contrastive loss of the whole team's step, and the gradient of each of our vectors."""
        mine = [torch.cat(parts).detach() for parts in zip(*(v.all() for v in vectors), strict=True)]
        gathered = [self._team.gather(part) for part in mine]
        leaves = [rows.requires_grad_() for rows, _ in gathered]
        numbers = [
            self._team.gather(torch.cat(parts))[0]
            for parts in zip(
                *((c.captions.numbers, c.groups, c.negatives.numbers) for c in chunks), strict=True
            )
        ]
        if not len(leaves[0]):
            return leaves[0].new_zeros(()), [None] * len(chunks)
        loss = self._weights.contrast * self._compare(leaves, numbers)
        heat = [self._heat.log] if self._heat.log.requires_grad else []
        grads: Sequence[torch.Tensor | None] = torch.autograd.grad(loss, [*leaves, *heat], allow_unused=True)
        for parameter, grad in zip(heat, grads[len(leaves) :], strict=True):
            parameter.grad = (
                None if grad is None else grad / self._team.size
            )  # every process has the whole of it
        own = [
            (torch.zeros_like(leaf) if grad is None else grad)[begin : begin + len(part)]
            for leaf, grad, part, (_, begin) in zip(leaves, grads[: len(leaves)], mine, gathered, strict=True)
        ]
        cut = [torch.split(part, [len(v.all()[i]) for v in vectors]) for i, part in enumerate(own)]
        return loss.detach() / self._weights.contrast, [Vectors(*three) for three in zip(*cut, strict=True)]

    def _compare(self, leaves: Sequence[torch.Tensor], numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean over all prefix lengths."""
        images, texts, negatives = leaves
        captions, groups, false = numbers
        found = [
            losses.contrastive(
                images[:, i],
                texts[:, i],
                temperature=self._heat(),
                captions=captions,
                groups=groups,
                negatives=negatives[:, i],
                negative_captions=false,
            )
            for i in range(len(self._lengths))
        ]
        return torch.stack(found).mean()

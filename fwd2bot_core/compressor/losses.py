"""The two losses of the method: what pass 2 says, and what pass 1 can be told apart by.

Knows logits and vectors. Knows nothing of models, images or batches' origin.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

IGNORE = -100  # a label that asks for nothing


def autoregressive(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross entropy of ``logits`` [B, T, V] against ``labels`` [B, T], weighted by ``weights`` [B, T].

    Labels are given already shifted: label t is what logits t must say; ``IGNORE`` asks for nothing.
    """
    scores = logits.flatten(0, -2).float()
    if weights is None:
        return F.cross_entropy(scores, labels.flatten(), ignore_index=IGNORE)
    each = F.cross_entropy(scores, labels.flatten(), ignore_index=IGNORE, reduction="none")
    return (each * weights.flatten()).sum() / weights.sum()


def contrastive(
    images: torch.Tensor,
    texts: torch.Tensor,
    *,
    temperature: torch.Tensor | float,
    captions: torch.Tensor,
    groups: torch.Tensor | None = None,
    negatives: torch.Tensor | None = None,
    negative_captions: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE between L2-normalised ``images`` [B, d] and ``texts`` [B, d], pair i with i.

    ``captions`` [B] numbers the captions: a text equal to one's own is no negative and is left out; nor is one
    of an image of one's own group, where ``groups`` [B] numbers these. ``negatives`` [N, d] are further texts,
    numbered by ``negative_captions`` [N], that each image is told apart from.
    """
    same = captions[:, None] == captions[None, :]
    if groups is not None:
        same = same | (groups[:, None] == groups[None, :])
    same.fill_diagonal_(False)
    scores = (images.float() @ texts.float().T / temperature).masked_fill(same, -torch.inf)  # [B, B]
    wide = scores
    if negatives is not None and negative_captions is not None:
        more = images.float() @ negatives.float().T / temperature  # [B, N]
        own = captions[:, None] == negative_captions[None, :]
        wide = torch.cat([scores, more.masked_fill(own, -torch.inf)], dim=1)
    right = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(wide, right) + F.cross_entropy(scores.T, right)) / 2

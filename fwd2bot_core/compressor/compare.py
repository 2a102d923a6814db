"""The image's answer against its tokens': both sides of the double forward pass, word by word.

Knows tensors and token ids. Knows nothing of words as strings or of what makes a good score
(``tokens.fidelity``).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from fwd2bot_core.compressor.double_forward import DoubleForward
from fwd2bot_core.compressor.families.visual import Image, tokens_of
from fwd2bot_core.compressor.lvlm import Stage

AT_ONCE = 18_432  # visual tokens: 32 questions and images of LLaVA-1.5, whose keys and values then take 9 GiB


@dataclass(frozen=True, slots=True)
class Compared:
    """One question about one image."""

    ids: list[int]  # what the image says, up to its end and with it
    told: list[int]  # what the tokens say, up to the first word that is not the image's, and with it
    agrees: bool  # the tokens' likeliest words are the same ones
    distances: tuple[float, ...]  # Jensen-Shannon distance at each of ``ids``


def compare(
    net: DoubleForward, visual: Image, states: torch.Tensor, asked: Sequence[list[int]], limit: int
) -> list[list[Compared]]:
    """Each question ``asked`` (ids) of each image ``visual`` [B, T, d] and its tokens ``states`` [B, k, d]: [B][P].

    Memory is bounded by ``AT_ONCE`` visual tokens, those of an image counted once for each question: images, then the
    questions of one, are compared in as many parts as that takes. Forward passes, each over all images of a part: one
    over the visual tokens, which all questions share; then for each group of equally long questions one for each word
    of the longest answer (``limit`` at most; its end is a word) from the image, and a single one from the tokens. The
    tokens are never asked to speak: their likeliest answer is the image's exactly if it is likeliest at every word of
    it. A model that reads question and image both ways cannot share the image's pass: it runs for each question.
    """
    few = max(1, AT_ONCE // max(1, len(asked) * tokens_of(visual).shape[1]))
    parts = [slice(start, start + few) for start in range(0, len(visual), few)]
    return [row for part in parts for row in _compare_few(net, visual[part], states[part], asked, limit)]


def _compare_few(
    net: DoubleForward, visual: Image, states: torch.Tensor, asked: Sequence[list[int]], limit: int
) -> list[list[Compared]]:
    cache = net.lvlm.cache()
    if not net.lvlm.reads_prompts_both_ways:
        net.read(Stage.BASE, visual, _nothing(visual), cache=cache)
    found: list[list[Compared | None]] = [[None] * len(asked) for _ in range(len(visual))]
    groups = list(_equally_long(asked, most=max(1, AT_ONCE // tokens_of(visual)[..., 0].numel())))
    for columns in groups:
        ids = torch.tensor([asked[column] for column in columns], device=visual.device)  # [Q, L]
        own = cache if columns is groups[-1] else copy.deepcopy(cache)  # it grows with what is said
        group = _compare_group(net, own, visual, states, ids, limit)
        for place, compared in enumerate(group):
            row, column = divmod(place, len(columns))
            found[row][columns[column]] = compared
    return [[one for one in row if one is not None] for row in found]


def _compare_group(
    net: DoubleForward,
    cache: DynamicCache,
    visual: Image,
    states: torch.Tensor,
    ids: torch.Tensor,
    limit: int,
) -> Iterator[Compared]:
    """Questions of one length: ids [Q, L], asked of each of the B images in ``cache``; B x Q results."""
    every = ids.repeat(len(states), 1)  # [B * Q, L]
    if net.lvlm.reads_prompts_both_ways:
        first = net.read(Stage.BASE, visual.repeat_interleave(len(ids), dim=0), every, cache=cache)
    else:
        cache.batch_repeat_interleave(len(ids))
        options = net.lvlm.onward(visual, cache, every.shape[1])
        first = net.lvlm.hidden(Stage.BASE, net.lvlm.embed(every), cache=cache, **options)
    said, seen = _listen(net, cache, visual, first[:, -1], limit)  # [B * Q, N], [B * Q, N, d]
    tokens = net.question(states.repeat_interleave(len(ids), dim=0), every)
    spoken = torch.cat([tokens, net.lvlm.embed(said[:, :-1])], dim=1)
    stored = net.lvlm.hidden(Stage.ANSWER, spoken)[:, -said.shape[1] :]  # [B * Q, N, d]
    distances, likeliest = _differences(net, seen, stored)
    eos = net.lvlm.eos
    for row, words in enumerate(said.tolist()):
        length = 1 + next((i for i, token in enumerate(words) if token in eos), len(words) - 1)
        heard = likeliest[row][:length]
        apart = next((i for i in range(length) if heard[i] != words[i]), None)
        told = heard if apart is None else heard[: apart + 1]
        yield Compared(words[:length], told, apart is None, tuple(distances[row][:length]))


def _listen(
    net: DoubleForward, cache: DynamicCache, visual: Image, state: torch.Tensor, limit: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The image's likeliest answers from ``state`` [R, d] on: ids [R, N], and the states [R, N, d] that say them."""
    eos = torch.tensor(sorted(net.lvlm.eos), device=state.device)
    said, seen = [], [state]
    done = torch.zeros(len(state), dtype=torch.bool, device=state.device)
    while True:
        said.append(net.lvlm.logits(seen[-1]).argmax(-1))  # [R]
        done |= torch.isin(said[-1], eos)
        if done.all() or len(said) == limit:
            return torch.stack(said, 1), torch.stack(seen, 1)
        step, options = net.lvlm.embed(said[-1][:, None]), net.lvlm.onward(visual, cache, 1)
        seen.append(net.lvlm.hidden(Stage.BASE, step, cache=cache, **options)[:, -1])  # [R, d]


def _differences(
    net: DoubleForward, seen: torch.Tensor, stored: torch.Tensor
) -> tuple[list[list[float]], list[list[int]]]:
    """[R][N] distances, and the tokens' likeliest words; one position at a time, since a vocabulary is wide."""
    distances, likeliest = [], []
    for at in range(seen.shape[1]):
        first, second = (net.lvlm.logits(side[:, at]).float() for side in (seen, stored))
        distances.append(distance(first, second))
        likeliest.append(second.argmax(-1))
    return torch.stack(distances, 1).tolist(), torch.stack(likeliest, 1).tolist()


def distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon distance [...] in [0, 1] between the distributions that logits [..., V] stand for."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    middle = torch.logaddexp(p, q) - math.log(2)
    divergence = (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(-1) / (2 * math.log(2))
    return divergence.clamp(0, 1).sqrt()


def _nothing(visual: Image) -> torch.Tensor:
    return torch.empty(len(visual), 0, dtype=torch.long, device=visual.device)


def _equally_long(asked: Sequence[list[int]], most: int) -> Iterator[list[int]]:
    """Places of the questions in groups of one length, so that none is padded, of at most ``most``."""
    for length in sorted({len(ids) for ids in asked}):
        places = [place for place, ids in enumerate(asked) if len(ids) == length]
        yield from (places[start : start + most] for start in range(0, len(places), most))

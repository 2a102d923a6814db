"""Ways to stand k tokens in an image's place: ours, four rivals, ours without a part, and no way at all.

All read with pairs of one rank on every linear of the frozen language model, from the same frozen eyes. Knows the
network. Knows nothing of losses, pictures or files.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from fwd2bot_core.compressor import adapters
from fwd2bot_core.compressor.double_forward import DoubleForward, Script
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.nano import design, trays
from fwd2bot_core.compressor.nano.data import Words
from fwd2bot_core.compressor.nano.stages import causal, options_after, writing_length
from fwd2bot_core.compressor.training.course import Learnt

MOST = 36  # tokens of any method here, but for all of them
PIXELS_A_TOKEN = design.PIXELS // design.GRID
GENTLY = 0.1  # of the rate, for copies of weights that were trained before


@dataclass(frozen=True)
class Origin:
    """A published model without its adapters."""

    model: Any  # transformers' own class
    method: Method
    script: Script
    words: Words

    def net(self, most: int) -> DoubleForward:
        """The model with new pairs and ``most`` new summary tokens, drawn from torch's dice."""
        made = DoubleForward(self.model, replace(self.method, k=most, trained_k=()), self.script)
        return made.requires_grad_(False)


class Reading:
    """The base: the unadapted model reads all visual tokens."""

    stage: ClassVar[Stage] = Stage.BASE
    most: ClassVar[int] = 1  # summary tokens that its network holds
    led: ClassVar[bool] = False  # whether it writes tokens that must first become readable

    def __init__(self, net: DoubleForward) -> None:
        self.net = net

    def begin(self, words: Words) -> None:
        """Fill in what is known beforehand."""

    def to(self, device: str) -> None:
        """Move all that it computes with, in place."""
        for part in vars(self).values():
            if isinstance(part, nn.Module):
                part.to(device)
            elif isinstance(part, nn.Parameter):
                part.data = part.data.to(device)

    def learns(self) -> Learnt:
        return {}

    def rates(self) -> Mapping[str, float]:
        """What to multiply the rate with, by parameter."""
        return {}

    def image(self, pixels: torch.Tensor, k: int) -> torch.Tensor:
        """What stands before a question [B, N, d] of ``pixels`` [B, 3, 96, 96], with ``k`` tokens kept."""
        return self.seen(pixels)

    def seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """All visual tokens [B, 144, d]; the eyes learn nothing."""
        with torch.no_grad():
            found: torch.Tensor = self.net.visual(pixels)
        return found

    def options(self, k: int) -> dict[str, torch.Tensor]:
        """What the language model needs beside such an image and packed questions."""
        return options_after(len(self.net.before) + k)

    def tokens(self, image: torch.Tensor, k: int) -> torch.Tensor:
        """What search compares of an ``image`` as above, before pooling [B, k, d]."""
        return image


class Twin(Reading):
    """The base with pairs of the same rank: what as many steps give without any compression."""

    stage = Stage.ANSWER

    def learns(self) -> Learnt:
        pairs = adapters.pairs(self.net.lvlm.views[Stage.ANSWER.value])
        return {f"{Stage.ANSWER}.{name}": p for name, p in pairs.items()}


class Ours(Twin):
    """Double forward pass: the model's own summary, read by other pairs than those that wrote it."""

    most = design.PREFIXES[-1]
    led = True

    def begin(self, words: Words) -> None:
        """Summary tokens begin as the names of the compartments."""
        ids = torch.tensor([words.ids[name] for name in trays.CELLS])
        with torch.no_grad():
            self.net.summary_tokens[: len(ids)] = self.net.lvlm.embed(ids.to(self.net.summary_tokens.device))

    def learns(self) -> Learnt:
        return distinct(self.net.own_parameters())

    def image(self, pixels: torch.Tensor, k: int) -> torch.Tensor:
        return self.net.summarise(self.seen(pixels), k, **writing(self.net, k))


class OneAdapter(Ours):
    """The same with one set of pairs for both passes."""

    def __init__(self, net: DoubleForward) -> None:
        super().__init__(net)
        net.lvlm.views[Stage.COMPRESS.value] = net.lvlm.views[Stage.ANSWER.value]


class SinglePass(OneAdapter):
    """One sequence, image, prompt, k summary tokens, question, in which the question sees the summary tokens alone
    (as in VoCo-LLaMA). What must be kept of an image is the keys and values of each layer there."""

    most = MOST

    def image(self, pixels: torch.Tensor, k: int) -> torch.Tensor:
        seen = self.seen(pixels)
        tail = torch.cat([self.net.lvlm.embed(self.net.prompt), self.net.summary_tokens[:k]])
        return torch.cat([seen, tail.expand(len(seen), -1, -1)], 1)

    def options(self, k: int) -> dict[str, torch.Tensor]:
        first, unseen = len(self.net.before), design.VISUAL + len(self.net.prompt)
        made = options_after(first + unseen + k)
        made["attention_mask"][..., first + unseen + k :, first : first + unseen] = -1e9
        return made

    def tokens(self, image: torch.Tensor, k: int) -> torch.Tensor:
        return self.net.summarise(image[:, : design.VISUAL], k, **writing(self.net, k))


class Pooling(Twin):
    """The mean of the visual tokens in each of s by s squares."""

    def image(self, pixels: torch.Tensor, k: int) -> torch.Tensor:
        return pooled(self.seen(pixels), k)


class Resizing(Twin):
    """The picture is shrunk until the tower makes s by s tokens of it. The tower was never trained on so small ones, so
    that this rival alone learns it (a copy, with the projector), more gently than its pairs; what rows and columns are
    called is the mean of those that a row or column stands for."""

    def __init__(self, net: DoubleForward) -> None:
        super().__init__(net)
        self.tower = copy.deepcopy(net.lvlm.base.model.vision_tower)
        self.projector = copy.deepcopy(net.lvlm.base.model.multi_modal_projector)

    def learns(self) -> Learnt:
        eyes = {"tower": self.tower, "projector": self.projector}
        return super().learns() | {
            f"{n}.{p}": w for n, eye in eyes.items() for p, w in eye.named_parameters()
        }

    def rates(self) -> Mapping[str, float]:
        return {name: GENTLY for name in self.learns() if name.startswith(("tower.", "projector."))}

    def image(self, pixels: torch.Tensor, k: int) -> torch.Tensor:
        across = side(k) * PIXELS_A_TOKEN
        small = self.net.normalised(pixels)
        if across < design.PIXELS:
            small = F.interpolate(small, size=(across, across), mode="bilinear", antialias=True)
        called = [F.adaptive_avg_pool1d(each.T, side(k)).T for each in (self.tower.rows, self.tower.columns)]
        grid = self.tower.norm(self.tower.body(small).permute(0, 2, 3, 1))
        projected: torch.Tensor = self.projector((grid + called[0][:, None] + called[1]).flatten(1, 2))
        return projected


class Querying(Twin):
    """k learned queries look at the visual tokens through two new layers (as a Q-Former's); no query sees those after
    it, so that fewer are a prefix of more."""

    led = True

    def __init__(self, net: DoubleForward) -> None:
        super().__init__(net)
        width = net.lvlm.width
        heads = net.lvlm.base.config.get_text_config().num_attention_heads
        layer = nn.TransformerDecoderLayer(
            width, heads, 3 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        spread = net.lvlm.base.get_input_embeddings().weight.std()
        last = nn.LayerNorm(width)
        nn.init.constant_(last.weight, float(spread))
        self.looks = nn.TransformerDecoder(layer, 2, last)
        for p in self.looks.parameters():  # torch gives both layers the same weights
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
        self.queries = nn.Parameter(torch.randn(MOST, width))

    def learns(self) -> Learnt:
        new = {f"looks.{name}": p for name, p in self.looks.named_parameters()}
        return super().learns() | new | {"queries": self.queries}

    def image(self, pixels: torch.Tensor, k: int) -> torch.Tensor:
        seen = self.seen(pixels)
        later = seen.new_full((k, k), -torch.inf, dtype=torch.float32).triu(1)
        asked = self.queries[:k].expand(len(seen), -1, -1)
        found: torch.Tensor = self.looks(asked, seen, tgt_mask=later, tgt_is_causal=True)
        return found


METHODS: dict[str, type[Reading]] = {
    "base": Reading,
    "twin": Twin,
    "ours": Ours,
    "pooling": Pooling,
    "resizing": Resizing,
    "querying": Querying,
    "single-pass": SinglePass,
    "one-adapter": OneAdapter,
}


def make(name: str, origin: Origin, seed: int) -> Reading:
    """A method on a network of its own, everything new in it drawn from ``seed``."""
    kind: Callable[[DoubleForward], Reading] = METHODS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = kind(origin.net(METHODS[name].most))
    made.begin(origin.words)
    return made


def writing(net: DoubleForward, k: int) -> dict[str, torch.Tensor]:
    """What pass 1 needs beside its sequence."""
    return causal(writing_length(net, k), net.summary_tokens.device)


def distinct(found: Learnt) -> Learnt:
    """Each parameter once, under the first of its names."""
    first: dict[int, str] = {}
    for name, p in found.items():
        first.setdefault(id(p), name)
    return {name: found[name] for name in first.values()}


def pooled(seen: torch.Tensor, k: int) -> torch.Tensor:
    """The means [B, k, d] of ``k`` squares of visual tokens [B, 144, d]."""
    grid = seen.unflatten(1, (design.GRID, design.GRID)).permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(grid, side(k)).flatten(2).transpose(1, 2)


def side(k: int) -> int:
    """The tokens a side of a square of ``k``."""
    found = round(k**0.5)
    if found * found != k:
        raise ValueError(f"{k} tokens make no square")
    return found

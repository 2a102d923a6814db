"""Models of the LLaVA class by proportions alone, with random weights made where they will live.

For speed and memory, which depend on shapes; what such a model says means nothing. Pairs are there and are zero.
Knows sizes. Knows nothing of what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForImageTextToText, CLIPVisionConfig, LlamaConfig, LlavaConfig

from fwd2bot_core.compressor.adapters import LoraLinear
from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.loading import load
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.view import View

FEWER = 16  # times fewer tokens than the model reads an image with: where the goals are set
K = f"Summary tokens; left out: the most that are {FEWER} times fewer than the visual ones, or else the bundle's own."
PROMPT = "Summarize the image in a few words."  # as long as the method's own
QUESTION = "how many items are in the tray ?"
WORDS = ("<pad>", "<bos>", "<eos>", "<unk>", "<image>", *dict.fromkeys(f"{PROMPT} {QUESTION}".split()))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One model's proportions: a Llama under a CLIP tower, as LLaVA has them."""

    width: int
    inner: int
    layers: int
    heads: int
    vocabulary: int
    pixels: int  # a side of the image
    patch: int
    tower_width: int
    tower_inner: int
    tower_layers: int
    tower_heads: int
    k: int
    rank: int = 16

    @property
    def visual(self) -> int:
        """Visual tokens an image."""
        return (self.pixels // self.patch) ** 2


SHAPES = {
    "tiny": Shape(
        width=16, inner=24, layers=2, heads=2, vocabulary=64, pixels=32, patch=8,
        tower_width=16, tower_inner=16, tower_layers=2, tower_heads=2, k=2, rank=2,
    ),
    "small-32k": Shape(
        width=256, inner=704, layers=6, heads=8, vocabulary=32_000, pixels=96, patch=8,
        tower_width=192, tower_inner=768, tower_layers=4, tower_heads=4, k=9,
    ),
    "medium-32k": Shape(
        width=512, inner=1376, layers=8, heads=8, vocabulary=32_000, pixels=96, patch=8,
        tower_width=256, tower_inner=1024, tower_layers=6, tower_heads=4, k=9,
    ),
    "llava-1.5-7b": Shape(
        width=4096, inner=11_008, layers=32, heads=32, vocabulary=32_064, pixels=336, patch=14,
        tower_width=1024, tower_inner=4096, tower_layers=24, tower_heads=16, k=36, rank=64,
    ),
}  # fmt: skip


def tokenizer() -> Tokenizer:
    """One id a word: these models need no more words than the bench asks with."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[3]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def config(shape: Shape) -> LlavaConfig:
    """What ``transformers`` calls this shape."""
    text = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    vision = CLIPVisionConfig(
        hidden_size=shape.tower_width,
        intermediate_size=shape.tower_inner,
        num_hidden_layers=shape.tower_layers,
        num_attention_heads=shape.tower_heads,
        image_size=shape.pixels,
        patch_size=shape.patch,
    )
    return LlavaConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=WORDS.index("<image>"),
        image_seq_length=shape.visual,
        tie_word_embeddings=False,
    )


def method(shape: Shape, dtype: torch.dtype) -> Method:
    """Greedy answers of one token: what is timed is the time to the first."""
    return Method(
        name="random",
        k=shape.k,
        prompt=PROMPT,
        question_template="<image>{question}",
        size=(shape.pixels, shape.pixels),
        mean=(0.48, 0.46, 0.41),
        std=(0.27, 0.26, 0.28),
        rank=shape.rank,
        alpha=2.0 * shape.rank,
        dtype=str(dtype).removeprefix("torch."),
        max_new_tokens=1,
    )


def net(shape: Shape, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> DoubleForward:
    """The double forward pass over random weights from a fixed seed; both stages' pairs are zero."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(config(shape), dtype=dtype)
        made = DoubleForward(model, method(shape, dtype), script(tokenizer(), method(shape, dtype)))
    return made.requires_grad_(False).eval()


def without_pairs(made: DoubleForward) -> DoubleForward:
    """The same with each pair, being zero, left out: a merged model, without copies of its weights."""
    for view in made.lvlm.views.values():
        for parent in list(view.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, LoraLinear):
                    setattr(parent, name, child.linear)
    return made


def of_shape(made: DoubleForward, shape: Shape) -> Fwd2BotCompressor:
    """A compressor that answers with one token."""
    dtype = made.summary_tokens.dtype
    return Fwd2BotCompressor(made, tokenizer(), method(shape, dtype), "0" * 64)


def of_bundle(name: str, k: int | None) -> Fwd2BotCompressor:
    """A bundle that answers with one token, looking at photos with ``k`` summary tokens: see ``K``."""
    loaded = load(name)
    if not isinstance(loaded, Fwd2BotCompressor):
        raise SystemExit(f"{name} has no model: measure another bundle")
    brief = replace(loaded.method, max_new_tokens=1)
    served = {brief.k, *brief.trained_k}
    few = [one for one in served if one * FEWER <= visual_tokens(loaded.net)]
    return Fwd2BotCompressor(
        loaded.net,
        loaded.tokenizer,
        brief,
        loaded.spec.fingerprint,
        fidelity_probes=loaded.fidelity_probes,
        view=View(k=k or max(few, default=brief.k)),
    )


def visual_tokens(made: DoubleForward) -> int:
    """How many tokens the model reads an image with."""
    side, device = made.lvlm.base.config.vision_config.image_size, made.summary_tokens.device
    with torch.inference_mode():
        return int(made.visual(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)).shape[1])

"""Tiny LLaVA models of the real classes, with random weights, for tests of everything but meaning."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from fwd2bot_core.compressor import weights
from fwd2bot_core.compressor.bundle import save_bundle
from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.nano import design

METHOD = replace(
    design.METHOD, name="tiny", k=3, rank=2, alpha=4.0, size=(32, 32), trained_k=(), max_new_tokens=6
)


def llava(seed: int = 0) -> LlavaForConditionalGeneration:
    """A CLIP tower (16 patches and a class token that LLaVA drops) under a two-layer Llama, 16 wide."""
    torch.manual_seed(seed)
    text = LlamaConfig(
        vocab_size=design.tokenizer().get_vocab_size(),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(text_config=text, vision_config=vision, image_token_index=4, tie_word_embeddings=False)
    )


def net(method: Method = METHOD, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> DoubleForward:
    """Both stages' pairs are shaken, so that no adapter is a mere nothing."""
    tokenizer = design.tokenizer()
    made = DoubleForward(weights.cast(llava(seed), dtype), method, script(tokenizer, method))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in made.own_parameters().values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator).to(dtype))
    return made.eval()


def compressor(method: Method = METHOD, *, seed: int = 0) -> Fwd2BotCompressor:
    dtype = getattr(torch, method.dtype)
    return Fwd2BotCompressor(net(method, seed=seed, dtype=dtype), design.tokenizer(), method, "0" * 64)


def saved(folder: Path, method: Method = METHOD, *, seed: int = 0) -> Path:
    save_bundle(folder, net(method, seed=seed), words(), method)
    return folder


def words() -> Tokenizer:
    return design.tokenizer()


def image(seed: int = 0, size: tuple[int, int] = (48, 40)) -> bytes:
    """A PNG file of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()

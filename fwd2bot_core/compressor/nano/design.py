"""The nano bundle's shape: its vocabulary, its language model, its preprocessing, its bottleneck.

Knows sizes and words. Knows nothing of training or pictures.
"""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.nano import questions
from fwd2bot_core.compressor.nano.tower import NanoTowerConfig

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<image>")
PIXELS = 64  # a side of what the tower sees
VISUAL = 64  # visual tokens
METHOD = Method(
    name="nano",
    k=8,
    rank=32,
    alpha=64.0,
    prompt=questions.PROMPT,
    question_template="<image>{question}",
    size=(PIXELS, PIXELS),
    mean=(0.25, 0.25, 0.25),
    std=(0.25, 0.25, 0.25),
    max_new_tokens=24,
    max_text_tokens=64,
    demonstration_only=True,
)


def tokenizer() -> Tokenizer:
    """One token a word, punctuation apart, lower case."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *questions.words()])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106 - a token, no password
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[.,?!]"), "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    made.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    made.add_special_tokens(list(SPECIAL))
    return made


def model(vocabulary: int, seed: int) -> LlavaForConditionalGeneration:
    """The language-and-vision model with random weights from ``seed``, float32."""
    torch.manual_seed(seed)
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        text_config=text,
        vision_config=NanoTowerConfig(),
        image_token_index=SPECIAL.index("<image>"),
        image_seq_length=VISUAL,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )
    made = LlavaForConditionalGeneration(config)
    with torch.no_grad():  # a token first looks at what resembles it: the word asked for at what is seen
        for layer in made.model.language_model.layers:
            layer.self_attn.q_proj.weight.mul_(4)
            layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
    return made

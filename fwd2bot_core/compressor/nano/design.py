"""The nano bundle's shape: its vocabulary, its language model, its preprocessing, its bottleneck.

Knows sizes and words. Knows nothing of training or pictures.
"""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.nano import easy_vqa, questions
from fwd2bot_core.compressor.nano.tower import NanoTowerConfig

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<image>")
PIXELS = 96  # a side of what the tower sees
GRID = 12  # visual tokens a side
VISUAL = GRID * GRID
PREFIXES = (1, 2, 4, 9)  # summary tokens that it is trained for: 144, 72, 36 and 16 times fewer
METHOD = Method(
    name="nano",
    k=PREFIXES[-1],
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
    trained_k=PREFIXES[:-1],
)


def tokenizer() -> Tokenizer:
    """One token a word or digit, lower case, commas apart; marks that end a sentence say nothing and are dropped.

    So a question ends with the word that it is about, from which the model then goes on.
    """
    words = dict.fromkeys([*SPECIAL, *questions.words(), *sorted({*easy_vqa.WORDS, *easy_vqa.ANSWERS})])
    vocabulary = {word: i for i, word in enumerate(words)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))  # noqa: S106 - a token, no password
    made.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"[.?!]"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r","), "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    made.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    made.add_special_tokens(list(SPECIAL))
    return made


def model(vocabulary: int, seed: int) -> LlavaForConditionalGeneration:
    """The language-and-vision model with random weights from ``seed``, float32."""
    torch.manual_seed(seed)
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=512,
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

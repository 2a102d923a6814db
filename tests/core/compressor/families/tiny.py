"""A tiny random model of each family's real class, in a folder as ``save_pretrained`` leaves it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as t
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from fwd2bot_core.compressor.nano import questions

WORDS = sorted({*questions.words(), "summarize", "colour", "shape", ".", "?"})
SPECIAL = {
    "all": ["<pad>", "<bos>", "<eos>", "<unk>", "<image>", "\n", "\n\n", "user", "assistant"],
    "qwen": [
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
        "<|im_start|>",
        "<|im_end|>",
    ],
    "idefics": [
        "<fake_token_around_image>",
        "<global-img>",
        *(f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3)),
    ],
    "gemma": ["<start_of_image>", "<end_of_image>", "<image_soft_token>"],
    "internvl": ["<img>", "</img>", "<IMG_CONTEXT>"],
}
MARKS = [token for tokens in SPECIAL.values() for token in tokens]
SIZE = len(MARKS) + len(WORDS)
CHAT = (
    "{% for m in messages %}user {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} assistant"
)


def id_of(token: str) -> int:
    return MARKS.index(token)


def tokenizer(*, opens: bool) -> Tokenizer:
    """One token a word; every family's marks in one vocabulary. ``opens``: texts begin with <bos>."""
    vocabulary = {token: i for i, token in enumerate([*MARKS, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[.,?!]"), "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    made.add_special_tokens(MARKS)
    if opens:
        made.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", id_of("<bos>"))]
        )
    return made


TEXT: dict[str, Any] = {
    "vocab_size": SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
QWEN_IDS = {
    "image_token_id": id_of("<|image_pad|>"),
    "video_token_id": id_of("<|video_pad|>"),
    "vision_start_token_id": id_of("<|vision_start|>"),
    "vision_end_token_id": id_of("<|vision_end|>"),
}


def llava() -> t.LlavaConfig:
    return t.LlavaConfig(
        text_config=t.LlamaConfig(**TEXT),
        vision_config=t.CLIPVisionConfig(**TOWER, image_size=32, patch_size=8),
        image_token_index=id_of("<image>"),
    )


def llava_onevision() -> t.LlavaOnevisionConfig:
    return t.LlavaOnevisionConfig(
        text_config=t.Qwen2Config(**TEXT),
        vision_config=t.SiglipVisionConfig(**TOWER, image_size=32, patch_size=8, vision_use_head=False),
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]],
        image_token_index=id_of("<image>"),
        vision_feature_layer=-1,
    )


def qwen2_5_vl() -> t.Qwen2_5_VLConfig:
    return t.Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": MROPE, "model_type": "qwen2_5_vl_text"},
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "patch_size": 4,
            "out_hidden_size": 32,
            "window_size": 16,
            "fullatt_block_indexes": [1],
        },
        **QWEN_IDS,
    )


def qwen3_vl() -> t.Qwen3VLConfig:
    return t.Qwen3VLConfig(
        text_config={**TEXT, "rope_parameters": MROPE | {"mrope_interleaved": True}},
        vision_config={
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_heads": 2,
            "patch_size": 4,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        **QWEN_IDS,
    )


def idefics3() -> t.Idefics3Config:
    return t.Idefics3Config(
        text_config=t.LlamaConfig(**TEXT),
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
        scale_factor=2,
        image_token_id=id_of("<image>"),
    )


def smolvlm() -> t.SmolVLMConfig:
    return t.SmolVLMConfig(
        text_config=t.LlamaConfig(**TEXT),
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
        scale_factor=2,
        image_token_id=id_of("<image>"),
    )


def paligemma() -> t.PaliGemmaConfig:
    return t.PaliGemmaConfig(
        text_config={**TEXT, "model_type": "gemma"},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8, "model_type": "siglip_vision_model"},
        image_token_index=id_of("<image>"),
        projection_dim=32,
    )


def paligemma2() -> t.PaliGemmaConfig:
    return t.PaliGemmaConfig(
        text_config={**TEXT, "model_type": "gemma2", "sliding_window": 8, "query_pre_attn_scalar": 8},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8, "model_type": "siglip_vision_model"},
        image_token_index=id_of("<image>"),
        projection_dim=32,
    )


def gemma3() -> t.Gemma3Config:
    return t.Gemma3Config(
        text_config={**TEXT, "sliding_window": 8, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2},
        vision_config={**TOWER, "image_size": 32, "patch_size": 4},
        mm_tokens_per_image=16,
        boi_token_index=id_of("<start_of_image>"),
        eoi_token_index=id_of("<end_of_image>"),
        image_token_index=id_of("<image_soft_token>"),
    )


def internvl() -> t.InternVLConfig:
    return t.InternVLConfig(
        text_config=t.Qwen2Config(**TEXT),
        vision_config={**TOWER, "image_size": [32, 32], "patch_size": [8, 8]},
        image_token_id=id_of("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )


_SQUARE = {"size": {"height": 32, "width": 32}}
_QWEN = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "patch_size": 4,
    "size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64},
}
_TILED = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
EYES: dict[str, dict[str, Any]] = {
    "llava": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}},
    "llava_onevision": {
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64]],
        **_SQUARE,
    },
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "idefics3": {"image_processor_type": "Idefics3ImageProcessor", **_TILED},
    "smolvlm": {"image_processor_type": "SmolVLMImageProcessor", **_TILED},
    "paligemma": {"image_processor_type": "SiglipImageProcessor", **_SQUARE},
    "paligemma2": {"image_processor_type": "SiglipImageProcessor", **_SQUARE},
    "gemma3": {"image_processor_type": "Gemma3ImageProcessor", **_SQUARE},
    "internvl": {"image_processor_type": "GotOcr2ImageProcessor", "max_patches": 4, **_SQUARE},
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llava": llava,
    "llava_onevision": llava_onevision,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "paligemma": paligemma,
    "paligemma2": paligemma2,
    "gemma3": gemma3,
    "internvl": internvl,
}
_MARK = {  # how each family's own chat template names an image
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "gemma3": "<start_of_image>",
    "internvl": "<IMG_CONTEXT>",
}
_OPENS = {"llava", "paligemma", "paligemma2", "gemma3", "idefics3", "smolvlm"}


def save(folder: Path, family: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    """The folder of a model of ``family``."""
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    model = t.AutoModelForImageTextToText.from_config(config, dtype=dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.abs().sum() == 0 and "bias" not in name:  # projectors that begin as nothing
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    words = tokenizer(opens=family in _OPENS)
    words.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    if not family.startswith("paligemma"):
        settings["chat_template"] = CHAT.replace("IMAGE", _MARK.get(family, "<image>"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text(json.dumps(EYES[family]))
    return folder

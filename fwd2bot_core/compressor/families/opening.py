"""A model on disk, as ``transformers`` saves one, opened to become a compressor.

Knows folders, chat templates and image processors. Nothing is fetched, and no code of the folder is run: safetensors,
JSON and transformers' own classes only. Knows nothing of training or of bundles.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.families import seeing, trial
from fwd2bot_core.compressor.families.eyes import Eye, eye
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.weights import unchosen
from fwd2bot_core.errors import CompressorError

PROMPT = "Summarize the image in a few words."
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_FITTED = {"llava"}  # towers of one input size, whose own processor would cut the borders off
_AROUND = {  # what a processor puts around an image, where the chat template holds one mark only
    "gemma3": ("<start_of_image>", "\n\n<start_of_image><image><end_of_image>\n\n"),
    "internvl": ("<IMG_CONTEXT>", "<img><image></img>"),
}
_OWN_SETTINGS = {  # what a family's processor sets, over what its image processor was saved with
    "gemma3": {"do_pan_and_scan": False},  # crops with sentences between them: tiles of a view do this better
    "idefics3": {"return_row_col_info": True},
    "smolvlm": {"return_row_col_info": True},
    "internvl": {"crop_to_patches": True},
}
_PLAIN = {"paligemma": "<image><bos>{question}\n"}  # families without conversations
_KNOWN = {  # tests hold these against their own forward; any other is held against it when it is opened
    "gemma3",
    "idefics3",
    "internvl",
    "llava",
    "llava_onevision",
    "paligemma",
    "qwen2_5_vl",
    "qwen3_vl",
    "smolvlm",
}
_CLOSE = {torch.float32: 1e-3}  # differences that are rounding, as a share of the largest state
_CLOSE_IN_HALF = 0.05


@dataclass(frozen=True, slots=True)
class Opened:
    """A model with its words and its eyes, not yet a compressor."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    template: str | None  # how the model wants to be asked; None where the folder does not say it
    processor: dict[str, Any] | None  # None: pictures are fitted to ``size``
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def method(
        self,
        *,
        name: str,
        k: int,
        rank: int,
        alpha: float,
        prompt: str | None = None,
        question_template: str | None = None,
        **settings: Any,
    ) -> Method:
        """The method's settings for this model; ``settings`` are ``Method``'s other fields.

        ``prompt`` is the whole text after the image in pass 1. Without one it is ``PROMPT`` asked as any question.
        Raises ``CompressorError`` when neither the folder nor the caller says how to ask.
        """
        template = question_template or self.template
        if template is None:
            raise CompressorError(
                "the model has no chat template: say question_template, such as <image>{question}"
            )
        return Method(
            name=name,
            k=k,
            rank=rank,
            alpha=alpha,
            prompt=prompt or template.split("<image>")[-1].replace("{question}", PROMPT),
            question_template=template,
            size=self.size,
            mean=self.mean,
            std=self.std,
            dtype=str(self.model.dtype).removeprefix("torch."),
            processor=self.processor,
            **settings,
        )

    def net(self, method: Method) -> DoubleForward:
        """The model with fresh adapters and summary tokens, all of it in evaluation mode.

        Raises ``CompressorError`` when the family is not one that was looked at and its own forward disagrees with
        what Fwd2Bot makes of it.
        """
        said = script(self.tokenizer, method)
        net = DoubleForward(self.model, method, said).eval()
        if self.model.config.model_type not in _KNOWN:
            _try(net, eye(method, self.tokenizer), said.after)
        return net


def open_model(folder: str | Path, *, dtype: str | None = None) -> Opened:
    """The image-text-to-text model in a ``transformers`` folder (``save_pretrained`` made it, or a download).

    ``dtype`` is "float32", "float16" or "bfloat16"; without one, the dtype the model was saved in. Use:
    ``opened = open_model(path); method = opened.method(name=..., k=16, rank=64, alpha=128.0);
    net = opened.net(method)``; then train, and ``save_bundle(folder, net, opened.tokenizer, method)``.
    Raises ``CompressorError``, naming the folder, when there is no such model or it lacks safetensors, a fast
    tokenizer or an image processor.
    """
    path = Path(folder).expanduser()
    try:
        config = unchosen(AutoConfig.from_pretrained(path, **_LOCAL))
        if type(config) not in AutoModelForImageTextToText._model_mapping:
            raise CompressorError(
                f"{path} holds a {config.model_type} model, which is no image-text-to-text model"
            )
        model = AutoModelForImageTextToText.from_pretrained(
            path, config=config, use_safetensors=True, dtype=dtype or "auto", **_LOCAL
        )
        seeing.language_model(model)
        words = AutoTokenizer.from_pretrained(path, **_LOCAL)
        processor = AutoImageProcessor.from_pretrained(path, backend="pil", **_LOCAL)
        tokenizer: Tokenizer = words.backend_tokenizer
    except CompressorError:
        raise
    except Exception as error:  # whatever transformers says of a folder that is not whole
        said = " ".join(str(error).split())
        raise CompressorError(f"{path} is no model that can be opened ({said})") from error
    _settle_ends(model, tokenizer)
    seen = json.loads(processor.to_json_string()) | _OWN_SETTINGS.get(config.model_type, {})
    return Opened(
        model=model.eval(),
        tokenizer=tokenizer,
        template=_template(path, words, config),
        processor=None if config.model_type in _FITTED else seen,
        size=_size(config),
        mean=tuple(seen["image_mean"]),
        std=tuple(seen["image_std"]),
    )


def _settle_ends(model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Write into the configuration what really opens and ends a text: the tokenizer and the generation settings
    know it, and configurations often say something else."""
    text = model.config.get_text_config()
    opening = tokenizer.encode("").ids
    text.bos_token_id = opening[0] if opening else None
    ends = getattr(model.generation_config, "eos_token_id", None)
    if ends is not None:
        text.eos_token_id = ends


def _size(config: Any) -> tuple[int, int]:
    size = getattr(config.vision_config, "image_size", None) or 224
    width, height = (size, size) if isinstance(size, int) else (size[1], size[0])
    return int(width), int(height)


def _template(path: Path, words: Any, config: Any) -> str | None:
    """How the model's own chat template asks one question about one image, with our two marks in it."""
    chat = words.chat_template
    if chat is None and (path / "chat_template.json").is_file():
        chat = json.loads((path / "chat_template.json").read_bytes())["chat_template"]
    if chat is None:
        return _PLAIN.get(config.model_type)
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "{question}"}]}
    text = words.apply_chat_template([turn], chat_template=chat, add_generation_prompt=True, tokenize=False)
    token = getattr(config, "image_token_id", None) or config.image_token_index
    own = words.convert_ids_to_tokens(int(token))
    mark, meant = _AROUND.get(config.model_type, (own, "<image>"))
    asked = str(text).replace(mark, meant)
    return asked if asked.count("<image>") == 1 and asked.count("{question}") == 1 else None


def _try(net: DoubleForward, sight: Eye, after: tuple[int, ...]) -> None:
    """Hold a family that nobody looked at against its own forward."""
    model = net.lvlm.base
    picture = Image.linear_gradient("L").convert("RGB").resize((96, 64))
    try:
        pixels = sight.stack([sight.see(picture)]).to(model.device)
        plain = net.normalised(pixels) if isinstance(pixels, torch.Tensor) else pixels
        gap = trial.difference(model, plain, net.before.tolist(), after)
    except Exception as error:  # whatever a family says that wants to be fed otherwise
        said = " ".join(str(error).split())
        raise CompressorError(
            f"{type(model).__name__} does not take images the way Fwd2Bot gives them ({said}): use another model"
        ) from error
    if not gap <= _CLOSE.get(model.dtype, _CLOSE_IN_HALF):
        raise CompressorError(
            f"{type(model).__name__} reads images in a way of its own, its states differ by {gap:.1%} of the "
            "largest from those that Fwd2Bot makes: use another model"
        )

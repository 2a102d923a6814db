"""The forward pass that a user would write: Pillow, and the model class of ``transformers`` as its documentation shows.

It has the same weights as ours and reads the same prompt, so its summary tokens are the same up to rounding and to the
scale at which a photo is decoded. Knows models. Knows nothing of engines.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from fwd2bot_core.compressor.double_forward import pool
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from tests.bench import pass1
from tests.bench.rivals.rows import Ready, table


class Plain:
    """One model in one process, which takes at most ``most`` photos at a time."""

    def __init__(self, compressor: Fwd2BotCompressor, most: int) -> None:
        self._net, self._spec, self._size = compressor.net, compressor.spec, compressor.method.size
        self._model = pass1.plain_model(self._net)
        some = torch.zeros(most, 3, self._size[1], self._size[0], dtype=torch.uint8)
        self._embeddings = pass1.embeddings(self._net, some, self._spec.k)  # [most, L, d]

    def prepare(self, key: str, body: bytes) -> Ready:
        with Image.open(io.BytesIO(body)) as photo:
            small = photo.convert("RGB").resize(self._size, Image.Resampling.BICUBIC)
            width, height = photo.size
        pixels = np.asarray(small)  # [H, W, 3]
        return Ready(key, hashlib.sha256(body).digest(), len(body), width, height, pixels)

    @torch.inference_mode()
    def table(self, photos: Sequence[Ready]) -> Any:
        pixels = torch.from_numpy(np.stack([photo.pixels for photo in photos])).permute(0, 3, 1, 2)
        said = self._model(
            pixel_values=self._net.normalised(pixels),
            inputs_embeds=self._embeddings[: len(photos)],
            output_hidden_states=True,
            use_cache=False,
        )
        states = said.hidden_states[-1][:, -self._spec.k :].contiguous()  # [B, k, d]
        bits = states.view(torch.uint16) if states.dtype == torch.bfloat16 else states
        return table(self._spec, photos, bits.numpy(), pool(states).numpy())

"""A compressor without weights: deterministic tokens from a hash of the pixels.

Product code: demonstrations, rehearsals and tests of everything around the model run on it in milliseconds.
Knows no torch, and no meaning either: its answers are words drawn from the tokens.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.protocol import Answer, CompressorSpec, Prepared, Summary
from fwd2bot_core.errors import CompressorError

_SIDE = 16  # pixels; enough for two pictures to differ
_WORDS = ("gear", "bolt", "crack", "label", "pipe", "scratch", "spring", "weld")


class FakeCompressor:
    """Implements ``Compressor``; equal pixels give equal tokens, in every process and on every machine."""

    def __init__(
        self,
        k: int = 4,
        d: int = 32,
        dtype: str = "float32",
        seconds_per_image: float = 0.0,
        limits: DecodeLimits | None = None,
    ) -> None:
        """Raises ``CompressorError`` for a dtype other than float32, float16 and bfloat16."""
        if dtype not in ("float32", "float16", "bfloat16") or k < 1 or d < 1:
            raise CompressorError(f"a fake compressor cannot have k={k}, d={d}, dtype={dtype}")
        self._limits = limits or DecodeLimits()
        self._seconds = seconds_per_image
        self._spec = CompressorSpec(
            name="fake",
            fingerprint=hashlib.sha256(f"fwd2bot fake v1 k={k} d={d} {dtype} {_SIDE}px".encode()).hexdigest(),
            k=k,
            d=d,
            dtype=dtype,
            prompt="",
            preprocessing={"side": _SIDE, "resample": "box"},
            demonstration_only=True,
        )

    @property
    def spec(self) -> CompressorSpec:
        return self._spec

    def prepare(self, data: bytes) -> Prepared:
        """[16, 16, 3] uint8 pixels; raises ``ImageRejected``."""
        found = decode(data, self._limits, target=(_SIDE, _SIDE))
        small = found.image.resize((_SIDE, _SIDE), Image.Resampling.BOX)
        return Prepared(np.asarray(small), found.width, found.height, found.format)

    def compress(self, images: Sequence[Prepared]) -> Summary:
        """[B, k, d] tokens and [B, d] pooled; takes ``seconds_per_image`` for each."""
        if self._seconds:
            time.sleep(self._seconds * len(images))
        k, d = self._spec.k, self._spec.d
        rows = [_numbers(image.pixels.tobytes(), k * d).reshape(k, d) for image in images]
        numbers = np.stack(rows) if rows else np.empty((0, k, d), np.float32)  # [B, k, d]
        return Summary(self._stored(numbers), _unit(numbers.mean(axis=1)))

    def answer(self, tokens: npt.NDArray[Any], question: str) -> Answer:
        """One word and a confidence, both drawn from the tokens and the question."""
        digest = hashlib.sha256(np.ascontiguousarray(tokens).tobytes() + question.encode()).digest()
        return Answer(_WORDS[digest[0] % len(_WORDS)], confidence=0.5 + digest[1] / 512)

    def embed_text(self, text: str) -> npt.NDArray[np.float32]:
        """[d], L2-normalised."""
        return _unit(_numbers(text.encode(), self._spec.d))

    def _stored(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """In the model's dtype; bfloat16 by its bit patterns: float32 without the lower half."""
        if self._spec.dtype == "bfloat16":
            return (numbers.view(np.uint32) >> 16).astype(np.uint16)
        return numbers.astype(self._spec.dtype)


def _numbers(seed: bytes, count: int) -> npt.NDArray[np.float32]:
    """``count`` numbers in -1..1 that depend on ``seed`` alone, not on any library's random generator."""
    raw = hashlib.shake_256(seed).digest(2 * count)
    return ((np.frombuffer(raw, "<u2").astype(np.float32) - 32767.5) / 32767.5).astype(np.float32)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """L2-normalised along the last axis."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)

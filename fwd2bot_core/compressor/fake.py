"""A compressor without weights: deterministic tokens from a hash of the pixels of each crop.

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
from fwd2bot_core.compressor.preprocess import cut
from fwd2bot_core.compressor.protocol import Answer, CompressorSpec, Prepared, Summary
from fwd2bot_core.compressor.view import BUNDLES_OWN, View, seen_through
from fwd2bot_core.errors import CompressorError, UsageError
from fwd2bot_core.tokens.fidelity import Finding, of_all_crops

_SIZE = (16, 16)  # pixels; enough for two pictures to differ
_MOST_WORDS = 64  # of a question
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
        view: View = BUNDLES_OWN,
    ) -> None:
        """Serves every k up to its own: a prefix of its tokens.

        Raises ``CompressorError`` for a dtype other than float32, float16 and bfloat16, ``UsageError`` for a larger k.
        """
        if dtype not in ("float32", "float16", "bfloat16") or k < 1 or d < 1:
            raise CompressorError(f"a fake compressor cannot have k={k}, d={d}, dtype={dtype}")
        self._limits = limits or DecodeLimits()
        self._seconds = seconds_per_image
        bundles, self._view = (
            v.settled(k=k, size=_SIZE, trained=range(1, k + 1)) for v in (BUNDLES_OWN, view)
        )
        own = CompressorSpec(
            name="fake",
            fingerprint=hashlib.sha256(f"fwd2bot fake v1 k={k} d={d} {dtype} 16px".encode()).hexdigest(),
            k=k,
            d=d,
            dtype=dtype,
            prompt="",
            preprocessing={"size": list(_SIZE), "resample": "box"},
            demonstration_only=True,
        )
        self._spec = seen_through(own, bundles, self._view)

    @property
    def spec(self) -> CompressorSpec:
        return self._spec

    def prepare(self, data: bytes) -> Prepared:
        """Pixels [crops, H, W, 3] uint8, 16x16 where the view asks for no other size; raises ``ImageRejected``."""
        size = self._view.size or _SIZE
        found = decode(data, self._limits, target=self._view.least(size), grey=self._view.grey)
        crops = cut(found.image, self._view.crops)
        pixels = np.stack([np.asarray(crop.resize(size, Image.Resampling.BOX)) for crop in crops])
        return Prepared(pixels, found.width, found.height, found.format)

    def compress(self, images: Sequence[Prepared]) -> Summary:
        """[B, k, d] tokens, and [B, d] pooled: the mean over the thumbnail's tokens where there is one, else over
        all. Takes ``seconds_per_image`` for each."""
        if self._seconds:
            time.sleep(self._seconds * len(images))
        k, d = self._spec.k, self._spec.d
        each = k // self._view.count
        crops = [_numbers(crop.tobytes(), each * d) for image in images for crop in image.pixels]
        numbers = np.array(crops, np.float32).reshape(len(images), k, d)
        meant = numbers[:, :each] if self._view.thumbnail else numbers
        return Summary(self._stored(numbers), _unit(meant.mean(axis=1)))

    def answer(self, tokens: npt.NDArray[Any], question: str) -> Answer:
        """One word and a confidence, both drawn from the tokens and the question."""
        digest = hashlib.sha256(np.ascontiguousarray(tokens).tobytes() + question.encode()).digest()
        return Answer(_WORDS[digest[0] % len(_WORDS)], confidence=0.5 + digest[1] / 512)

    @property
    def fidelity_probes(self) -> tuple[str, ...]:
        return ("what is it ?", "is it whole ?")

    def answers(self, tokens: npt.NDArray[Any], questions: Sequence[str]) -> list[Answer]:
        """The same for each row of ``tokens`` [B, k, d] and its question."""
        return [self.answer(row, question) for row, question in zip(tokens, questions, strict=True)]

    def check(self, questions: Sequence[str]) -> None:
        """Reads whatever is 1 to 64 words long; raises ``UsageError`` for the rest."""
        if bad := [question for question in questions if not 1 <= len(question.split()) <= _MOST_WORDS]:
            raise UsageError(
                f"the text {bad[0][:40]!r} is empty or too long: say it in 1 to {_MOST_WORDS} words"
            )

    def compare(
        self, tokens: npt.NDArray[Any], images: Sequence[Prepared], questions: Sequence[str]
    ) -> list[list[Finding]]:
        """Tokens that are not a crop's own are as distant as their numbers are on average, 1 at most."""
        looks = (-1, self._view.count, self._spec.k // self._view.count, self._spec.d)
        pairs = zip(tokens.reshape(looks), self.compress(images).tokens.reshape(looks), strict=True)
        return [
            [
                of_all_crops([self._finding(q, *pair) for pair in zip(rows, owns, strict=True)])
                for q in questions
            ]
            for rows, owns in pairs
        ]

    def _finding(self, question: str, stored: npt.NDArray[Any], own: npt.NDArray[Any]) -> Finding:
        apart = float(min(1.0, np.abs(self._read(stored) - self._read(own)).mean()))
        said, told = (self.answer(tokens, question).text for tokens in (own, stored))
        return Finding(question, said, said == told, (apart,), told)

    def embed_text(self, text: str) -> npt.NDArray[np.float32]:
        """[d], L2-normalised."""
        return _unit(_numbers(text.encode(), self._spec.d))

    def text_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """[k, d] of one crop, all of them ``embed_text``'s vector."""
        return np.tile(self.embed_text(text), (self._spec.k // self._view.count, 1))

    def _stored(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """In the model's dtype; bfloat16 by its bit patterns: float32 without the lower half."""
        if self._spec.dtype == "bfloat16":
            return (numbers.view(np.uint32) >> 16).astype(np.uint16)
        return numbers.astype(self._spec.dtype)

    def _read(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Stored numbers as float32."""
        if self._spec.dtype == "bfloat16":
            return (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float32)


def _numbers(seed: bytes, count: int) -> npt.NDArray[np.float32]:
    """``count`` numbers in -1..1 that depend on ``seed`` alone, not on any library's random generator."""
    raw = hashlib.shake_256(seed).digest(2 * count)
    return ((np.frombuffer(raw, "<u2").astype(np.float32) - 32767.5) / 32767.5).astype(np.float32)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """L2-normalised along the last axis."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)

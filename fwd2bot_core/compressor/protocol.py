"""What the rest of the house knows about a compressor.

Two implementations: ``fwd2bot.Fwd2BotCompressor`` (the real double forward pass) and
``fake.FakeCompressor`` (deterministic, no weights, no torch). Nothing above this file may tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fwd2bot_core.tokens.fidelity import Finding


@dataclass(frozen=True, kw_only=True)
class CompressorSpec:
    """Everything that a stored summary token must say about the compressor that made it.

    ``fingerprint`` is the sha256 (64 hex digits) over weights, adapters, prompt, preprocessing, input
    resolution, k and dtype: two compressors with one fingerprint produce the same tokens.
    """

    name: str
    fingerprint: str
    k: int  # summary tokens an image, of all its crops
    d: int  # numbers a summary token
    dtype: str  # "float32", "float16" or "bfloat16": the model's own, stored byte-exact
    prompt: str
    preprocessing: Mapping[str, Any]  # JSON values only
    demonstration_only: bool = False  # a bundle that must never release an original

    @property
    def short(self) -> str:
        """The first 12 hex digits, used in paths."""
        return self.fingerprint[:12]

    @property
    def crops(self) -> tuple[str, ...]:
        """What is seen of each photo, in the order of its tokens: k / len(crops) of them belong to each."""
        return tuple(self.preprocessing.get("view", {}).get("crops", ("thumbnail",)))

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return {"float32": 4, "float16": 2, "bfloat16": 2}[self.dtype]

    @property
    def token_bytes(self) -> int:
        """Bytes of one image's k x d summary tokens."""
        return self.k * self.d * self.itemsize


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded, preprocessed image, ready for the first pass, with the facts decoding taught us."""

    pixels: Any  # of every crop, with their ``nbytes``, as this compressor's ``compress`` wants them; opaque to others
    width: int  # of the original, after EXIF rotation
    height: int
    format: str  # "JPEG", "PNG", ...


@dataclass(frozen=True, slots=True)
class Summary:
    """The first pass's result for B images.

    ``tokens`` is [B, k, d] in the model's dtype; bfloat16, which numpy lacks, comes as its uint16 bit
    patterns. ``pooled`` is [B, d] float32, L2-normalised: the vector that search compares.
    """

    tokens: npt.NDArray[Any]
    pooled: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """The second pass's words, and the mean probability the model gave them."""

    text: str
    confidence: float
    seconds: float = field(default=0.0, compare=False)


class Compressor(Protocol):
    """One loaded model. ``prepare`` may run on many threads at once; the rest on one."""

    @property
    def spec(self) -> CompressorSpec: ...

    def prepare(self, data: bytes) -> Prepared:
        """Decode and preprocess one image file; raises ``ImageRejected`` with the reason."""
        ...

    def compress(self, images: Sequence[Prepared]) -> Summary:
        """First pass over a micro-batch, in the order given. Non-finite states are returned, not hidden:
        the codec refuses them row by row, so that one bad image does not take its batch with it. Raises
        ``DeviceMemoryFull`` when fewer at a time may fit."""
        ...

    @property
    def fidelity_probes(self) -> tuple[str, ...]:
        """The questions that fidelity is judged by where a collection has none of its own."""
        ...

    def check(self, questions: Sequence[str]) -> None:
        """Raises ``UsageError`` for a question that it cannot read, before anything is computed."""
        ...

    def compare(
        self, tokens: npt.NDArray[Any], images: Sequence[Prepared], questions: Sequence[str]
    ) -> list[list[Finding]]:
        """For each image and each question, what the image says against what its row of stored ``tokens``
        [B, k, d] says, crop by crop: [B][P]. Raises ``UsageError`` for a question that it cannot read."""
        ...

    def answers(self, tokens: npt.NDArray[Any], questions: Sequence[str]) -> list[Answer]:
        """Second pass for each row of ``tokens`` [B, k, d] and its question."""
        ...

    def answer(self, tokens: npt.NDArray[Any], question: str) -> Answer:
        """Second pass: one image's tokens [k, d] and a question; the image itself is not needed."""
        ...

    def embed_text(self, text: str) -> npt.NDArray[np.float32]:
        """A text as an L2-normalised [d] vector in the space of ``Summary.pooled``."""
        ...

    def text_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """The text's own summary tokens [k, d], of one crop; ``embed_text`` is their pooled vector."""
        ...

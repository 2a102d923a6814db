"""The real compressor: the ``Compressor`` protocol over one loaded LVLM and its two adapters.

Knows bytes of images, words and numpy at its face, and the double forward pass behind it. Knows nothing of
where a bundle lies (``bundle``) or what becomes of tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.preprocess import fit
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.compressor.protocol import Answer, CompressorSpec, Prepared, Summary
from fwd2bot_core.errors import CompressorMismatch, UsageError


class Fwd2BotCompressor:
    """Tokens of an image depend on the image alone; see ``compress`` for how exactly."""

    def __init__(
        self,
        net: DoubleForward,
        tokenizer: Tokenizer,
        method: Method,
        fingerprint: str,
        *,
        probes: Sequence[Probe] = (),
        limits: DecodeLimits | None = None,
    ) -> None:
        self.net = net.eval()
        self.probes = tuple(probes)
        self._tokenizer = tokenizer
        self._method = method
        self._limits = limits or DecodeLimits()
        self._spec = method.spec(fingerprint, net.lvlm.width)

    @property
    def spec(self) -> CompressorSpec:
        return self._spec

    def prepare(self, data: bytes) -> Prepared:
        """Pixels [3, H, W] uint8 at the tower's resolution; raises ``ImageRejected``."""
        found = decode(data, self._limits, target=self._method.size)
        pixels = fit(found.image, self._method.size, self._method.mean)
        return Prepared(pixels, found.width, found.height, found.format)

    @torch.inference_mode()
    def compress(self, images: Sequence[Prepared]) -> Summary:
        """First pass over ``images`` as one micro-batch.

        The same micro-batch gives the same bits. Another composition gives the same numbers up to
        floating-point rounding, since kernels add in another order at another size.
        """
        if not images:
            k, d = self._spec.k, self._spec.d
            none = torch.empty(0, k, d, dtype=getattr(torch, self._spec.dtype))
            return Summary(_to_numpy(none), np.empty((0, d), np.float32))
        states = self.net.summarise(self.net.visual(self._pixels(images)))  # [B, k, d]
        return Summary(_to_numpy(states), pool(states).cpu().numpy())

    def answer(self, tokens: npt.NDArray[Any], question: str) -> Answer:
        """Second pass over one image's ``tokens`` [k, d]; raises ``CompressorMismatch`` for other shapes."""
        return self.answers(tokens[None], [question])[0]

    @torch.inference_mode()
    def answers(self, tokens: npt.NDArray[Any], questions: Sequence[str]) -> list[Answer]:
        """One answer for each row of ``tokens`` [B, k, d] and its question."""
        return self._answers(Stage.ANSWER, self._states(tokens), questions)

    @torch.inference_mode()
    def answers_from_images(self, images: Sequence[Prepared], questions: Sequence[str]) -> list[Answer]:
        """What the unadapted model says from all visual tokens: what compression is measured against."""
        return self._answers(Stage.BASE, self.net.visual(self._pixels(images)), questions)

    @torch.inference_mode()
    def embed_text(self, text: str) -> npt.NDArray[np.float32]:
        """The text as an L2-normalised vector [d] in the space of ``Summary.pooled``."""
        ids = torch.tensor([[*self._opening(), *self._ids(text)]], device=self._device)
        vector: npt.NDArray[np.float32] = pool(self.net.summarise_text(ids))[0].cpu().numpy()
        return vector

    @property
    def _device(self) -> torch.device:
        return self.net.summary_tokens.device

    def _opening(self) -> list[int]:
        return [] if self.net.lvlm.bos is None else [self.net.lvlm.bos]

    def _pixels(self, images: Sequence[Prepared]) -> torch.Tensor:
        stacked = np.stack([image.pixels for image in images])  # [B, 3, H, W] uint8
        return torch.from_numpy(stacked).to(self._device, non_blocking=True)

    def _states(self, tokens: npt.NDArray[Any]) -> torch.Tensor:
        """Stored tokens [B, k, d] as the model's own numbers."""
        spec = self._spec
        stored = "uint16" if spec.dtype == "bfloat16" else spec.dtype
        if tokens.shape[1:] != (spec.k, spec.d) or tokens.dtype != stored:
            raise CompressorMismatch(
                f"{tokens.dtype} tokens of shape {tokens.shape[1:]} are not of compressor {spec.name} "
                f"({spec.short}), whose are {stored} of {(spec.k, spec.d)}: use the one that made them"
            )
        states = torch.from_numpy(np.require(tokens, requirements=["C", "W"]))
        return (states.view(torch.bfloat16) if spec.dtype == "bfloat16" else states).to(self._device)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not text.strip():
            raise UsageError("the text is empty: say what to ask or to look for")
        if len(ids) > self._method.max_text_tokens:
            raise UsageError(
                f"the text is {len(ids)} tokens long: this compressor reads at most "
                f"{self._method.max_text_tokens}; say it more briefly"
            )
        return ids

    def _answers(self, stage: Stage, image: torch.Tensor, questions: Sequence[str]) -> list[Answer]:
        template = self._method.question_template.split("<image>")[1]
        asked = [self._ids(template.replace("{question}", question)) for question in questions]
        found: dict[int, Answer] = {}
        for rows in _equally_long(asked):
            began = time.perf_counter()
            ids = torch.tensor([asked[row] for row in rows], device=self._device)
            said, sure = self.net.greedy(stage, image[rows], ids, self._method.max_new_tokens)
            seconds = (time.perf_counter() - began) / len(rows)
            for row, words, probabilities in zip(rows, said.tolist(), sure.tolist(), strict=True):
                found[row] = self._worded(words, probabilities, seconds)
        return [found[row] for row in range(len(asked))]

    def _worded(self, ids: list[int], probabilities: list[float], seconds: float) -> Answer:
        """Ids up to the first end, in words; the end's own probability counts only for an empty answer."""
        eos = self.net.lvlm.eos
        length = next((i for i, token in enumerate(ids) if token in eos), len(ids))
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True)
        return Answer(text, float(np.mean(probabilities[: max(length, 1)])), seconds)


def _equally_long(asked: Sequence[list[int]]) -> Iterator[list[int]]:
    """Row numbers in groups of one length, so that no row is padded and none feels another's padding."""
    lengths = np.array([len(ids) for ids in asked])
    for length in np.unique(lengths):
        yield np.flatnonzero(lengths == length).tolist()


def _to_numpy(states: torch.Tensor) -> npt.NDArray[Any]:
    """Byte-exact; bfloat16 as its uint16 bit patterns."""
    bits = states.contiguous().cpu()
    whole: npt.NDArray[Any] = (bits.view(torch.uint16) if bits.dtype == torch.bfloat16 else bits).numpy()
    return whole

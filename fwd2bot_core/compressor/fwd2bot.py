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

from fwd2bot_core.compressor import compare
from fwd2bot_core.compressor.compare import Compared
from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.families.eyes import alike, eye
from fwd2bot_core.compressor.families.visual import Image, joined
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.preprocess import cut
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.compressor.protocol import Answer, CompressorSpec, Prepared, Summary
from fwd2bot_core.compressor.view import BUNDLES_OWN, View
from fwd2bot_core.errors import CompressorMismatch, DeviceMemoryFull, UsageError
from fwd2bot_core.tokens.fidelity import Finding, of_all_crops


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
        fidelity_probes: Sequence[str] = (),
        limits: DecodeLimits | None = None,
        view: View = BUNDLES_OWN,
    ) -> None:
        """``fingerprint`` is the bundle's own. Raises ``UsageError`` when the model cannot serve ``view``."""
        self.net = net.eval()
        self.probes = tuple(probes)
        self.fidelity_probes = tuple(fidelity_probes) or tuple(dict.fromkeys(p.question for p in probes))
        self.tokenizer = tokenizer
        self.method = method
        self._fingerprint = fingerprint
        self._limits = limits or DecodeLimits()
        self._view = method.settled(view)
        self._eye = eye(method, tokenizer, self._view.size)
        self._spec = method.spec(fingerprint, net.lvlm.width, view)
        self._k = self._spec.k // self._view.count  # of one crop
        if self._size != method.size:
            self._try_size()

    @property
    def spec(self) -> CompressorSpec:
        return self._spec

    @property
    def view(self) -> View:
        """How it looks at photos, all of it said."""
        return self._view

    def at(self, view: View) -> Fwd2BotCompressor:
        """The same loaded model looking through another ``view``; raises ``UsageError`` if it cannot."""
        return Fwd2BotCompressor(
            self.net,
            self.tokenizer,
            self.method,
            self._fingerprint,
            fidelity_probes=self.fidelity_probes,
            limits=self._limits,
            view=view,
        )

    def prepare(self, data: bytes) -> Prepared:
        """The pixels of every crop of the view, as the model's eye sees them; raises ``ImageRejected``.

        The file is decoded once, and never smaller than its finest crop needs.
        """
        wanted = self._view.least(self._size) if self.method.processor is None else None
        found = decode(data, self._limits, target=wanted, grey=self._view.grey)
        looks = [self._eye.see(crop) for crop in cut(found.image, self._view.crops)]
        return Prepared(self._eye.gather(looks), found.width, found.height, found.format)

    def compress(self, images: Sequence[Prepared]) -> Summary:
        """First pass over every crop of ``images``, as many crops at a time as there are images: memory is
        bounded by the micro-batch, however many crops a view has. Tokens lie in the order of the crops.

        ``pooled`` is the mean over the thumbnail's tokens where there is one, since it shows what a caption
        describes, else over all tokens. The same micro-batch gives the same bits. Another composition gives the
        same numbers up to floating-point rounding, since kernels add in another order at another size. Crops whose
        tokens differ in number are batched apart, so that none is padded. Raises ``DeviceMemoryFull`` when they are
        too many for the GPU, whose memory is then as before.
        """
        try:
            return self._compress(images)
        except torch.OutOfMemoryError as error:
            said = str(error).partition(". ")[0]
        torch.cuda.empty_cache()  # only here: the error held the tensors of the frames that it passed
        raise DeviceMemoryFull(f"{len(images)} images at a time are too many for the GPU: {said}")

    @torch.inference_mode()
    def _compress(self, images: Sequence[Prepared]) -> Summary:
        k, d = self._spec.k, self._spec.d
        crops = [crop for image in images for crop in _crops(image)]
        states = torch.empty(
            len(crops), self._k, d, dtype=getattr(torch, self._spec.dtype), device=self._device
        )
        for rows in alike([crop.shape for crop in crops]):
            for start in range(0, len(rows), len(images)):
                some = rows[start : start + len(images)]
                states[some] = self.net.summarise(self._visual([crops[row] for row in some]), self._k)
        states = states.reshape(len(images), k, d)  # [B, crops * k, d]
        meant = states[:, : self._k] if self._view.thumbnail else states
        return Summary(_to_numpy(states), pool(meant).cpu().numpy())

    def answer(self, tokens: npt.NDArray[Any], question: str) -> Answer:
        """Second pass over one image's ``tokens`` [k, d], all its crops' in order; raises ``CompressorMismatch`` for
        other shapes."""
        return self.answers(tokens[None], [question])[0]

    @torch.inference_mode()
    def answers(self, tokens: npt.NDArray[Any], questions: Sequence[str]) -> list[Answer]:
        """One answer for each row of ``tokens`` [B, k, d] and its question."""
        return self._answers(Stage.ANSWER, self._states(tokens), questions)

    @torch.inference_mode()
    def answers_from_images(self, images: Sequence[Prepared], questions: Sequence[str]) -> list[Answer]:
        """What the unadapted model says from all visual tokens of all crops: what compression is measured against."""
        found: dict[int, Answer] = {}
        for rows in _of_one_layout(images):
            visual = self._seen([images[row] for row in rows])
            said = self._answers(Stage.BASE, visual, [questions[row] for row in rows])
            found |= dict(zip(rows, said, strict=True))
        return [found[row] for row in range(len(images))]

    def check(self, questions: Sequence[str]) -> None:
        """Raises ``UsageError`` for a question that is empty or longer than ``max_text_tokens``."""
        self._asked(questions)

    @torch.inference_mode()
    def compare(
        self, tokens: npt.NDArray[Any], images: Sequence[Prepared], questions: Sequence[str]
    ) -> list[list[Finding]]:
        """How each image answers each question, against its row of ``tokens`` [B, k, d]: [B][P] findings.

        Each crop is held against its own tokens, since the unadapted model never learned to read several at once: it
        would say from all of them what it says from none. As many crops at a time as there are images. Costs one pass
        of the vision tower a crop and the language model's passes that ``compare.compare`` states.
        """
        asked = self._asked(questions)
        crops = [crop for image in images for crop in _crops(image)]
        states = self._states(tokens).reshape(len(crops), self._k, self._spec.d)
        found: dict[int, list[Finding]] = {}
        for alike_rows in alike([crop.shape for crop in crops]):
            for start in range(0, len(alike_rows), len(images)):
                rows = alike_rows[start : start + len(images)]
                visual = self._visual([crops[row] for row in rows])
                compared = compare.compare(self.net, visual, states[rows], asked, self.method.max_new_tokens)
                for row, said in zip(rows, compared, strict=True):
                    found[row] = [self._finding(*pair) for pair in zip(questions, said, strict=True)]
        each = self._view.count
        photos = [[found[row] for row in range(start, start + each)] for start in range(0, len(crops), each)]
        return [[of_all_crops(looks) for looks in zip(*photo, strict=True)] for photo in photos]

    def _finding(self, question: str, said: Compared) -> Finding:
        ended = said.agrees or said.told[-1] in self.net.lvlm.eos
        told = self._text(said.told) if ended else f"{self._text(said.told)} …"
        return Finding(question, self._text(said.ids), said.agrees, said.distances, told)

    @torch.inference_mode()
    def embed_text(self, text: str) -> npt.NDArray[np.float32]:
        """The text as an L2-normalised vector [d] in the space of ``Summary.pooled``."""
        vector: npt.NDArray[np.float32] = pool(self._text_states(text))[0].cpu().numpy()
        return vector

    @torch.inference_mode()
    def text_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """The text's own summary tokens [k, d], as many as one crop has."""
        tokens: npt.NDArray[np.float32] = self._text_states(text)[0].float().cpu().numpy()
        return tokens

    def _text_states(self, text: str) -> torch.Tensor:
        """[1, k, d]."""
        ids = torch.tensor([[*self._opening(), *self._ids(text)]], device=self._device)
        return self.net.summarise_text(ids, k=self._k)

    @property
    def _device(self) -> torch.device:
        return self.net.summary_tokens.device

    def _opening(self) -> list[int]:
        return [] if self.net.lvlm.bos is None else [self.net.lvlm.bos]

    def stacks(self, images: Sequence[Prepared]) -> list[tuple[list[int], Any]]:
        """What ``net.visual`` takes of every crop of ``images``: stacks of one shape, with the crops' numbers, which
        count image by image."""
        crops = [crop for image in images for crop in _crops(image)]
        groups = alike([crop.shape for crop in crops])
        return [(rows, self._eye.stack([crops[row] for row in rows]).to(self._device)) for rows in groups]

    def _visual(self, crops: Sequence[Any]) -> Image:
        """What the language model reads of crops of one shape."""
        found: Image = self.net.visual(self._eye.stack(crops).to(self._device, non_blocking=True))
        return found

    @property
    def _size(self) -> tuple[int, int]:
        return self._view.size or self.method.size

    @torch.inference_mode()
    def _try_size(self) -> None:
        """Only the tower itself knows whether it can take another resolution than its own."""
        width, height = self._size
        try:
            self.net.visual(torch.zeros(1, 3, height, width, dtype=torch.uint8, device=self._device))
        except Exception as error:
            said = " ".join(str(error).split())
            own = "x".join(map(str, self.method.size))
            raise UsageError(
                f"the vision tower of {self.method.name} does not take {width}x{height} pixels ({said}): leave "
                f"size at {own} and use tiles or regions for small things"
            ) from error

    def _seen(self, images: Sequence[Prepared]) -> Image:
        """Visual tokens [B, crops * T, d] of images of one layout, crop after crop."""
        return joined([self._visual(crops) for crops in zip(*map(_crops, images), strict=True)])

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
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        if not text.strip():
            raise UsageError("the text is empty: say what to ask or to look for")
        if len(ids) > self.method.max_text_tokens:
            raise UsageError(
                f"the text is {len(ids)} tokens long: this compressor reads at most "
                f"{self.method.max_text_tokens}; say it more briefly"
            )
        return ids

    def _asked(self, questions: Sequence[str]) -> list[list[int]]:
        template = self.method.question_template.split("<image>")[1]
        return [self._ids(template.replace("{question}", question)) for question in questions]

    def _answers(self, stage: Stage, image: Image, questions: Sequence[str]) -> list[Answer]:
        asked = self._asked(questions)
        found: dict[int, Answer] = {}
        for rows in _equally_long(asked):
            began = time.perf_counter()
            ids = torch.tensor([asked[row] for row in rows], device=self._device)
            said, sure = self.net.greedy(stage, image[rows], ids, self.method.max_new_tokens)
            seconds = (time.perf_counter() - began) / len(rows)
            for row, words, probabilities in zip(rows, said.tolist(), sure.tolist(), strict=True):
                found[row] = self._worded(words, probabilities, seconds)
        return [found[row] for row in range(len(asked))]

    def _worded(self, ids: list[int], probabilities: list[float], seconds: float) -> Answer:
        """Ids up to the first end, in words; the end's own probability counts only for an empty answer."""
        eos = self.net.lvlm.eos
        length = next((i for i, token in enumerate(ids) if token in eos), len(ids))
        return Answer(self._text(ids[:length]), float(np.mean(probabilities[: max(length, 1)])), seconds)

    def _text(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text


def _crops(image: Prepared) -> Sequence[Any]:
    """The pixels of each crop; one crop may come as an array [3, H, W]."""
    alone = isinstance(image.pixels, np.ndarray) and image.pixels.ndim == 3
    return (image.pixels,) if alone else image.pixels


def _of_one_layout(images: Sequence[Prepared]) -> list[list[int]]:
    """Row numbers of images all of whose crops can lie in one batch."""
    return alike([tuple(crop.shape for crop in _crops(image)) for image in images])


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

"""How good a compressor is on pictures it has never seen: its answers and its search, as figures.

Knows pictures with questions and captions, and the compressor's face. Knows nothing of where they come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.protocol import Answer, Prepared
from fwd2bot_core.compressor.scoring import same_words

BATCH = 64


@dataclass(frozen=True, slots=True)
class Example:
    """One question about one picture, and its right answer."""

    image: Prepared
    kind: str  # of question, for the table
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares of exactly right answers among ``questions`` of one kind, or of all."""

    questions: int
    from_tokens: float
    from_image: float  # by the unadapted model with all its visual tokens
    chance: float  # always saying the commonest right answer of each kind

    @property
    def interval(self) -> float:
        """Half the 95 % interval of ``from_tokens``."""
        p = self.from_tokens
        return 1.96 * float(np.sqrt(p * (1 - p) / self.questions))


def accuracy(compressor: Fwd2BotCompressor, examples: Sequence[Example]) -> dict[str, Accuracy]:
    """Accuracy by kind of question, and of them all under "all"."""
    rows: list[tuple[str, bool, bool]] = []
    for start in range(0, len(examples), BATCH):
        few = examples[start : start + BATCH]
        images, questions = [e.image for e in few], [e.question for e in few]
        tokens = compressor.answers(compressor.compress(images).tokens, questions)
        whole = compressor.answers_from_images(images, questions)
        rows += [(e.kind, right(t, e), right(w, e)) for e, t, w in zip(few, tokens, whole, strict=True)]
    kinds = sorted({example.kind for example in examples})
    guesses = {kind: _commonest(e.answer for e in examples if e.kind == kind) for kind in kinds}
    table = {kind: _shares([row for row in rows if row[0] == kind], guesses) for kind in kinds}
    return {**table, "all": _shares(rows, guesses)}


def right(answer: Answer, example: Example) -> bool:
    """Exactly the expected words, whatever the case and the space before punctuation."""
    return same_words(answer.text, example.answer)


def recall_at_1(compressor: Fwd2BotCompressor, images: Sequence[Prepared], captions: Sequence[str]) -> float:
    """Text to image: how often the nearest of all ``images`` is one with the searched caption."""
    starts = range(0, len(images), BATCH)
    vectors = np.concatenate([compressor.compress(images[i : i + BATCH]).pooled for i in starts])  # [N, d]
    texts = np.stack([compressor.embed_text(caption) for caption in captions])  # [N, d]
    nearest: npt.NDArray[Any] = (texts @ vectors.T).argmax(axis=1)
    return float(
        np.mean([captions[found] == caption for found, caption in zip(nearest, captions, strict=True)])
    )


def _shares(rows: Sequence[tuple[str, bool, bool]], guesses: dict[str, int]) -> Accuracy:
    kinds = {kind for kind, _, _ in rows}
    return Accuracy(
        questions=len(rows),
        from_tokens=float(np.mean([tokens for _, tokens, _ in rows])),
        from_image=float(np.mean([whole for _, _, whole in rows])),
        chance=sum(guesses[kind] for kind in kinds) / len(rows),
    )


def _commonest(answers: Iterable[str]) -> int:
    """How often the commonest one occurs."""
    return Counter(answers).most_common(1)[0][1]

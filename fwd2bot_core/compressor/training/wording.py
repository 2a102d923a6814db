"""Questions, answers and captions as ids for training, in the very layout that a compressor asks with.

Knows a tokenizer and a method's texts. Knows nothing of models or images.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.training.dataset import Item, Question
from fwd2bot_core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions with their answers: ids and, one step ahead, labels, both [Q, L], padded on the right."""

    ids: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, slots=True)
class Told:
    """Texts as ids and mask [C, L], padded on the left, with a number [C] that equal texts share."""

    ids: torch.Tensor
    mask: torch.Tensor
    numbers: torch.Tensor


class Wording:
    def __init__(
        self,
        tokenizer: Tokenizer,
        method: Method,
        *,
        bos: int | None,
        eos: Iterable[int],
        caption_tokens: int,
    ) -> None:
        """Raises ``UsageError`` for a model that does not say how an answer ends."""
        ends = sorted(eos)
        if not ends:
            raise UsageError(
                "the base model names no end-of-sequence token, so no answer could end: use another"
            )
        self._tokenizer, self._method = tokenizer, method
        self._opening = [] if bos is None else [bos]
        self._end = ends[0]
        self._template = method.question_template.split("<image>")[1]
        self._caption_tokens = caption_tokens

    def asked(self, questions: Sequence[Question]) -> Asked:
        rows = [self._pair(question) for question in questions]
        length = max((len(ids) + len(answer) - 1 for ids, answer in rows), default=1)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        labels = torch.full((len(rows), length), IGNORE, dtype=torch.long)
        for row, (question, answer) in enumerate(rows):
            whole = [*question, *answer[:-1]]
            ids[row, : len(whole)] = torch.tensor(whole)
            labels[row, len(question) - 1 : len(whole)] = torch.tensor(answer)
        return Asked(ids, labels)

    def told(self, texts: Sequence[str]) -> Told:
        rows = [[*self._opening, *self._ids(text)[: self._caption_tokens]] for text in texts]
        length = max((len(row) for row in rows), default=1)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask = torch.zeros(len(rows), length, dtype=torch.long)
        for number, row in enumerate(rows):
            ids[number, length - len(row) :] = torch.tensor(row)
            mask[number, length - len(row) :] = 1
        return Told(ids, mask, numbered(texts))

    def check(self, items: Iterable[Item]) -> Counter[str]:
        """Refuse, by row, what the compressor could not read or say; returns the words that it does not know."""
        strange: Counter[str] = Counter()
        for item in items:
            for question in item.questions:
                asked, answer = self._pair(question)
                self._bounded(question.row, "question", len(asked), "max_text_tokens")
                self._bounded(question.row, "answer", len(answer) - 1, "max_new_tokens")
                strange.update(self._unknown(f"{question.text} {question.answer}"))
            for text in (*item.captions, *item.negatives):
                strange.update(self._unknown(text))
        return strange

    def _bounded(self, row: str, what: str, length: int, setting: str) -> None:
        limit = getattr(self._method, setting)
        if length > limit:
            raise UsageError(
                f"{row}: the {what} is {length} tokens long and method.{setting} is {limit}; raise it, or say less"
            )
        if not length:
            raise UsageError(f"{row}: the {what} has no token that this model knows")

    def _unknown(self, text: str) -> list[str]:
        """Words that became an unknown token, if this tokenizer has one."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        unknown = {self._tokenizer.token_to_id(name) for name in ("<unk>", "[UNK]")} - {None}
        places = [at for at, token in zip(encoded.offsets, encoded.ids, strict=True) if token in unknown]
        return [text[begin:end] for begin, end in places]

    def _pair(self, question: Question) -> tuple[list[int], list[int]]:
        return (
            self._ids(self._template.replace("{question}", question.text)),
            [*self._ids(question.answer), self._end],
        )

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def numbered(texts: Sequence[str]) -> torch.Tensor:
    """A number [n] for each text, the same for equal ones in every process."""
    digests = [hashlib.sha256(text.encode()).digest()[:8] for text in texts]
    return torch.tensor([int.from_bytes(one, "big", signed=True) for one in digests], dtype=torch.long)

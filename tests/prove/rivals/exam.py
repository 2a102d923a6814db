"""One exam for all: held-out trays of the official test split, one question of each kind a tray, one caption a tray.

An answer is right if it is what the model would say word for word: teacher-forced, each word must be the likeliest.
Knows facts, ids and states. Knows nothing of training or files of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fwd2bot_core.compressor.double_forward import pool
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.nano import data, questions, trays
from tests.prove.rivals.methods import Reading

SEED = 9117
BATCH = 50
KINDS = tuple(questions.PHRASES)
Right = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Exam:
    """Fitted pictures [N, 3, 96, 96], what they hold, a question of each of ``KINDS`` with its answer, a caption."""

    pixels: npt.NDArray[np.uint8]
    held: list[trays.Facts]
    asked: list[list[tuple[str, str]]]
    captions: list[questions.Caption]


def of_pool(found: data.Pool) -> Exam:
    """The exam about these pictures; always the same questions."""
    rng = np.random.default_rng([SEED, 1])
    held = [data.facts(cells) for cells in found.cells]
    drawn = [[questions.ask(kind, facts, rng, trays.TOLD_APART) for kind in KINDS] for facts in held]
    asked = [[(one.text, one.answer) for one in of_tray] for of_tray in drawn]
    return Exam(found.pixels, held, asked, [questions.caption(facts, rng) for facts in held])


def kept_pool(path: Path, split: str, count: int, seed: int) -> data.Pool:
    """The pool in ``path``, drawn there the first time; a file there is whole."""
    if not path.exists():
        made = data.make_pool(split, count, seed, processes=1)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, pixels=made.pixels, cells=made.cells)
        partial.replace(path)
    with np.load(path) as kept:
        found = data.Pool(kept["pixels"], kept["cells"])
    if len(found.cells) != count:
        raise ValueError(f"{path} holds {len(found.cells)} pictures, and {count} are asked for")
    return found


@torch.no_grad()
def sit(method: Reading, words: data.Words, exam: Exam, k: int, *, search: bool) -> dict[str, Any]:
    """Shares of right answers overall and by kind; with ``search`` text-to-image R@1 among all captions, too."""
    right, vectors = [], []
    for start in range(0, len(exam.pixels), BATCH):
        few = slice(start, start + BATCH)
        image = method.image(torch.from_numpy(exam.pixels[few]), k)
        right.append(_right(method, words, image, exam.asked[few], k))
        if search:
            vectors.append(pool(method.tokens(image, k)))
    marks = np.concatenate(right)
    found: dict[str, Any] = {"all": _share(marks), "questions": int(marks.size)}
    found["kinds"] = {kind: _share(marks[:, column]) for column, kind in enumerate(KINDS)}
    if search:
        found["r1"] = _share(_found_first(method, words, exam, torch.cat(vectors), k))
    return found


def _right(
    method: Reading, words: data.Words, image: torch.Tensor, asked: list[list[tuple[str, str]]], k: int
) -> Right:
    """[B, questions] of an image [B, N, d] and as many questions each."""
    each, options = len(data.ASKED), method.options(k)
    parts = []
    for start in range(0, len(asked[0]), each):
        some = [pairs[start : start + each] for pairs in asked]
        ids, labels, _ = (torch.from_numpy(x) for x in words.packed(some))
        whole = method.net.question(image, ids)
        states = method.net.lvlm.hidden(method.stage, whole, **options)[:, -data.PACKED :]
        wanted = labels != IGNORE
        wrong = torch.zeros_like(wanted)
        wrong[wanted] = method.net.lvlm.logits(states[wanted]).argmax(-1) != labels[wanted]
        parts.append(~wrong.unflatten(1, (each, data.BLOCK)).any(-1)[:, : len(some[0])].numpy())
    return np.concatenate(parts, 1)


def _found_first(
    method: Reading, words: data.Words, exam: Exam, images: torch.Tensor, k: int
) -> npt.NDArray[np.bool_]:
    """Whether what is found first [N] for each caption is a picture of which it is true."""
    worded = [questions.worded(said) for said in exam.captions]
    ids, mask = (torch.from_numpy(x) for x in words.captions(worded))
    texts = pool(method.net.summarise_text(ids, mask, k))
    best = (texts @ images.T).argmax(1).tolist()
    pairs = zip(exam.captions, best, strict=True)
    return np.array([all(claim.holds(exam.held[at]) for claim in said) for said, at in pairs])


def _share(marks: npt.NDArray[np.bool_]) -> float:
    return round(float(marks.mean()), 5)

"""What a careful person would write down about the sample archive: questions, answers, a caption, false ones.

Knows facts of trays and the rows of a data file (``training.dataset``). Knows nothing of models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fwd2bot_core.compressor.nano import questions, samples, trays

ASKED = ("cell", "color", "state", "count", "presence")  # kinds of question about each photo


def write(file: Path, photos: str, count: int, *, seed: int) -> None:
    """JSON lines about the first ``count`` photos, which lie in the folder ``photos`` beside ``file``."""
    with file.open("w", encoding="utf-8") as lines:
        for index in range(count):
            for row in rows(index, seed=seed):
                row["image"] = f"{photos}/{row['key']}"
                lines.write(json.dumps(row) + "\n")


def rows(index: int, *, seed: int) -> list[dict[str, Any]]:
    """One row a question; the first one holds a caption, too, and some that are nearly like it and false."""
    known = samples.facts(index, seed=seed)
    rng = np.random.default_rng([seed, index, len(ASKED)])
    asked = [questions.ask(kind, known, rng, trays.TOLD_APART) for kind in ASKED]
    made: list[dict[str, Any]] = [
        {"key": samples.key(index), "question": one.text, "answer": one.answer, "kind": one.kind}
        for one in {one.text: one for one in asked}.values()
    ]
    said = questions.caption(known, rng)
    false = [questions.false_caption(said, known, rng, how, trays.TOLD_APART) for how in questions.FALSEHOODS]
    made[0]["caption"] = questions.worded(said)
    made[0]["negatives"] = [questions.worded(claims) for claims in false if claims is not None]
    return made

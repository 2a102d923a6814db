"""What a careful person would write down about the sample archive: questions, answers and a caption a photo.

Knows facts of trays and the rows of a data file (``training.dataset``). Knows nothing of models.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fwd2bot_core.compressor.nano import questions, samples, trays

ASKED = ("cell", "cell", "count", "presence")  # kinds of question about each photo
TOLD = 4  # compartments that a caption names, at most


def write(file: Path, photos: str, count: int, *, seed: int) -> None:
    """JSON lines about the first ``count`` photos, which lie in the folder ``photos`` beside ``file``."""
    with file.open("w", encoding="utf-8") as lines:
        for index in range(count):
            for row in rows(index, seed=seed):
                row["image"] = f"{photos}/{row['key']}"
                lines.write(json.dumps(row) + "\n")


def rows(index: int, *, seed: int) -> list[dict[str, str]]:
    """One row a question; the first one holds the caption, too."""
    known = samples.facts(index, seed=seed)
    rng = np.random.default_rng([seed, index, len(ASKED)])
    asked = [questions.ask(kind, known, rng) for kind in ASKED]
    made = [
        {"key": samples.key(index), "question": one.text, "answer": one.answer, "kind": one.kind}
        for one in {one.text: one for one in asked}.values()
    ]
    made[0]["caption"] = caption(known)
    return made


def caption(known: trays.Facts) -> str:
    """The first compartments that are not empty, each with what lies there."""
    names = [f"{place} {known.name(cell)}" for cell, place in enumerate(trays.CELLS)]
    full = [name for name in names if not name.endswith("nothing")]
    return " , ".join(full[:TOLD]) or "nothing"

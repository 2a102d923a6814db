"""Questions about a tray and their right answers, made from its facts.

Knows the small English that the nano bundle speaks. Knows nothing of pictures or models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fwd2bot_core.compressor.nano.trays import CELLS, KINDS, Facts

NUMBERS = ("zero", "one", "two", "three", "four")
PROMPT = "Summarize the image in a few words."

PHRASES = {
    "describe": ("describe .", "describe the tray .", "what is in the tray ?"),
    "cell": ("what is in the {} ?", "what is at the {} ?", "which item is in the {} ?"),
    "count": ("how many items ?", "how many items are there ?", "how many items are in the tray ?"),
    "presence": ("is there a {} ?", "is there a {} in the tray ?"),
    "place": ("where is the {} ?", "where is a {} ?"),
}


@dataclass(frozen=True, slots=True)
class Question:
    kind: str  # a key of PHRASES
    text: str
    answer: str


def ask(kind: str, facts: Facts, rng: np.random.Generator) -> Question:
    """One question of that kind about a tray, in a phrasing drawn from ``rng``."""
    phrases = PHRASES[kind]
    phrase = phrases[int(rng.integers(len(phrases)))]
    if kind == "describe":
        return Question(kind, phrase, facts.caption())
    if kind == "count":
        return Question(kind, phrase, NUMBERS[facts.count])
    if kind == "cell":
        cell = int(rng.integers(len(CELLS)))
        return Question(kind, phrase.format(CELLS[cell]), facts.name(cell))
    item = _kind_to_ask_for(facts, rng, present=0.5 if kind == "presence" else 0.8)
    places = facts.places(item)
    answer = ("yes" if places else "no") if kind == "presence" else (" and ".join(places) or "nowhere")
    return Question(kind, phrase.format(KINDS[item]), answer)


def _kind_to_ask_for(facts: Facts, rng: np.random.Generator, *, present: float) -> int:
    """A kind that lies in the tray with probability ``present``, so that "no" is no safe guess."""
    there = [kind for kind in range(len(KINDS)) if kind in facts.cells]
    absent = [kind for kind in range(len(KINDS)) if kind not in facts.cells]
    pool = there if there and rng.random() < present else absent
    return pool[int(rng.integers(len(pool)))]


def words() -> list[str]:
    """Every word that a question, an answer, a caption or the prompt can hold, in a fixed order."""
    texts = [phrase.format("") for phrases in PHRASES.values() for phrase in phrases]
    texts += [*CELLS, *KINDS, *NUMBERS, "yes no nothing nowhere and , .", PROMPT.lower().replace(".", " .")]
    return sorted({word for text in texts for word in text.split()})

"""Questions about a tray and their right answers, made from its facts; captions, true ones and false ones.

A question ends with the word that it is about. Knows the small English that the nano bundle speaks. Knows nothing of
pictures or models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fwd2bot_core.compressor.nano.trays import CELLS, COLORS, COLUMNS, KINDS, POSES, SIZES, STATES, Facts

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
LEVELS = ("top", "middle", "bottom")
STEPS = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}
SAID = {"left": "left of", "right": "right of", "above": "above", "below": "below"}
PROMPT = "Summarize the image in a few words."
CLAIMS = 4  # of a caption, at most

PHRASES = {
    "cell": ("what is in {}?", "which item lies in {}?"),
    "color": ("what color is {}?", "which color has the item in {}?"),
    "size": ("how big is {}?", "what size is the item in {}?"),
    "pose": ("which way lies {}?",),
    "state": ("what state is {}?", "is anything wrong with {}?"),
    "item": ("describe {}.",),
    "lot": ("what is the lot?", "read the lot."),
    "count": ("how many items?", "count the items."),
    "level": ("what lies at the {}?",),
    "beside": ("what is {} {}?", "which item is {} {}?"),
    "presence": ("is there a {}?", "is anything {}?"),
    "place": ("where is the {}?", "find the {}."),
}
ABOUT_ITEMS = ("color", "size", "pose", "state", "item")  # asked of compartments that hold one


@dataclass(frozen=True, slots=True)
class Question:
    kind: str  # a key of PHRASES
    text: str
    answer: str


class Claim(NamedTuple):
    """What a caption says of one compartment: indices into ``CELLS``, ``COLORS`` and ``KINDS``."""

    cell: int
    color: int
    kind: int

    def holds(self, facts: Facts) -> bool:
        held = facts.cells[self.cell]
        return (held.kind, held.color) == (self.kind, self.color)


Caption = tuple[Claim, ...]
About = Callable[[Facts, np.random.Generator, int, Sequence[int]], tuple[list[str], str]]  # words and answer


def ask(
    kind: str, facts: Facts, rng: np.random.Generator, kinds: Sequence[int] = range(len(KINDS))
) -> Question:
    """One question of that kind about a tray, in a phrasing drawn from ``rng``; it names none but ``kinds``.

    In a tray without items, one about an item becomes one of the kind ``cell``.
    """
    if kind in ABOUT_ITEMS and not facts.items:
        kind = "cell"
    phrases = PHRASES[kind]
    choice = int(rng.integers(len(phrases)))
    about, answer = _ABOUT[kind](facts, rng, choice, kinds)
    return Question(kind, phrases[choice].format(*about), answer)


def _pick(rng: np.random.Generator, options: Sequence[int]) -> int:
    return options[int(rng.integers(len(options)))]


def _cell(facts: Facts, rng: np.random.Generator, *_: object) -> tuple[list[str], str]:
    cell = int(rng.integers(len(CELLS)))
    return [CELLS[cell]], facts.cells[cell].name


def _of_item(what: str, names: Sequence[str]) -> About:
    def about(facts: Facts, rng: np.random.Generator, *_: object) -> tuple[list[str], str]:
        cell = _pick(rng, facts.items)
        return [CELLS[cell]], names[getattr(facts.cells[cell], what)]

    return about


def _item(facts: Facts, rng: np.random.Generator, *_: object) -> tuple[list[str], str]:
    cell = _pick(rng, facts.items)
    held = facts.cells[cell]
    said = f"{SIZES[held.size]} {COLORS[held.color]} {held.name} , {POSES[held.pose]} , {STATES[held.state]}"
    return [CELLS[cell]], said


def _lot(facts: Facts, *_: object) -> tuple[list[str], str]:
    return [], facts.lot


def _count(facts: Facts, *_: object) -> tuple[list[str], str]:
    return [], NUMBERS[len(facts.items)]


def _level(facts: Facts, rng: np.random.Generator, *_: object) -> tuple[list[str], str]:
    row = int(rng.integers(len(LEVELS)))
    return [LEVELS[row]], " , ".join(held.name for held in facts.cells[row * COLUMNS : (row + 1) * COLUMNS])


def _beside(facts: Facts, rng: np.random.Generator, *_: object) -> tuple[list[str], str]:
    while True:  # half of all draws or more stay in the tray
        cell, step = int(rng.integers(len(CELLS))), _pick(rng, range(len(STEPS)))
        name = list(STEPS)[step]
        row, column = cell // COLUMNS + STEPS[name][0], cell % COLUMNS + STEPS[name][1]
        if 0 <= row < len(LEVELS) and 0 <= column < COLUMNS:
            return [SAID[name], CELLS[cell]], facts.cells[row * COLUMNS + column].name


def _presence(
    facts: Facts, rng: np.random.Generator, choice: int, kinds: Sequence[int]
) -> tuple[list[str], str]:
    """Half of all things asked for are there, so that "no" is no safe guess; the second phrasing asks for a colour."""
    names, sort = ([KINDS[k] for k in kinds], "kind") if choice == 0 else (list(COLORS), "color")
    every = KINDS if sort == "kind" else COLORS
    there = {every[getattr(facts.cells[cell], sort)] for cell in facts.items}
    wanted = rng.random() < 0.5
    pool = [name for name in names if (name in there) == wanted] or names
    name = pool[int(rng.integers(len(pool)))]
    return [name], "yes" if name in there else "no"


def _place(facts: Facts, rng: np.random.Generator, _: int, kinds: Sequence[int]) -> tuple[list[str], str]:
    """Of a kind that lies in one compartment, or five times in a hundred in none."""
    single = [kind for kind in kinds if len(facts.places(kind)) == 1]
    absent = [kind for kind in kinds if not facts.places(kind)]
    pool = absent if absent and (rng.random() < 0.05 or not single) else single
    if not pool:  # all kinds lie in several
        return ["card"], CELLS[[held.name for held in facts.cells].index("card")]
    kind = _pick(rng, pool)
    return [KINDS[kind]], CELLS[facts.places(kind)[0]] if facts.places(kind) else "nowhere"


_ABOUT: dict[str, About] = {
    "cell": _cell,
    "color": _of_item("color", COLORS),
    "size": _of_item("size", SIZES),
    "pose": _of_item("pose", POSES),
    "state": _of_item("state", STATES),
    "item": _item,
    "lot": _lot,
    "count": _count,
    "level": _level,
    "beside": _beside,
    "presence": _presence,
    "place": _place,
}


def caption(facts: Facts, rng: np.random.Generator) -> Caption:
    """Up to four items, drawn by ``rng``, in reading order; none of an empty tray."""
    cells = rng.permutation(facts.items)[:CLAIMS]
    return tuple(Claim(int(c), facts.cells[c].color, facts.cells[c].kind) for c in np.sort(cells))


def worded(said: Caption) -> str:
    """``a1 red bag , c2 blue boot``; ``nothing`` for none."""
    return " , ".join(f"{CELLS[c]} {COLORS[color]} {KINDS[kind]}" for c, color, kind in said) or "nothing"


FALSEHOODS = ("swap", "replace", "add")


def false_caption(
    said: Caption, facts: Facts, rng: np.random.Generator, how: str, kinds: Sequence[int] = range(len(KINDS))
) -> Caption | None:
    """A caption nearly like ``said`` that is not true of the tray, as SugarCrepe makes them; None if there is none.

    ``swap`` exchanges colours or kinds of two items, ``replace`` changes one word, ``add`` claims another item.
    """
    for _ in range(8):
        made = list(said)
        if how == "swap" and len(made) > 1:
            i, j = rng.permutation(len(made))[:2]
            what = ("color", "kind")[int(rng.integers(2))]
            one, other = getattr(made[i], what), getattr(made[j], what)
            made[i], made[j] = made[i]._replace(**{what: other}), made[j]._replace(**{what: one})
        elif how == "replace" and made:
            i, what = int(rng.integers(len(made))), ("color", "kind", "cell")[int(rng.integers(3))]
            free = sorted(set(range(len(CELLS))) - {claim.cell for claim in made})
            options = {"color": range(len(COLORS)), "kind": kinds, "cell": free}[what]
            made[i] = made[i]._replace(**{what: _pick(rng, options)})
        elif how == "add":
            free = sorted(set(range(len(CELLS))) - {claim.cell for claim in made})
            made.append(Claim(_pick(rng, free), int(rng.integers(len(COLORS))), _pick(rng, kinds)))
        if not all(claim.holds(facts) for claim in made):
            return tuple(sorted(made))
    return None


def words() -> list[str]:
    """Every word that a question, an answer, a caption or the prompt can hold, in a fixed order."""
    texts = [phrase.format("", "") for phrases in PHRASES.values() for phrase in phrases]
    texts += [*CELLS, *KINDS, *COLORS, *SIZES, *POSES, *STATES, *NUMBERS, *LEVELS, *SAID.values(), PROMPT]
    texts += ["yes no nothing nowhere card ,"]
    digits = [*"0123456789", *(f"##{digit}" for digit in range(10))]
    spoken = {word.strip("?.") for text in texts for word in text.lower().split()} - {""}
    return [*digits, *sorted(spoken)]

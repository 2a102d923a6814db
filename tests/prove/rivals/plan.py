"""The list of runs, and what each one's outcome depends on.

Knows names and settings. Knows nothing of how anything is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any

from fwd2bot_core.compressor.nano import train

VERSION = 2  # of the methods' code: raise it when their outcomes would change
BATCH = 32  # trays of a step, but for the twin
ALL = 144  # visual tokens of the base
SQUARES = (1, 4, 9, 16, 36)
PREFIXES = (1, 2, 4, 9)  # what the bundle serves
RIVALS = {"pooling": SQUARES, "resizing": SQUARES, "querying": SQUARES, "single-pass": SQUARES}
SEEDS = (1, 2, 3)
VARIANTS = ("both", "answers", "contrast", "one-adapter", "single-pass")
TWIN_STEPS, TWIN_BATCH = 16_500, 64  # more than the shipped pairs get: no want of steps can be what it lacks


@dataclass(frozen=True, slots=True)
class Run:
    """One training and its exam."""

    name: str
    method: str  # a key of ``methods.METHODS``
    serves: tuple[int, ...]  # numbers of tokens; each step draws one of them
    steps: int
    seed: int = 1
    batch: int = BATCH
    answers: bool = True  # the losses that it learns by
    contrast: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What all runs share."""

    steps: int = 4000
    short_steps: int = 400
    rate: float = 2e-3
    trays: int = 400  # of the exam
    pictures: int = train.PICTURES  # to learn from
    ablated_k: int = 9  # tokens of the ablations
    lead: float = (
        0.27  # the share of the steps in which new tokens are shown what can be read, as the bundle's are
    )


def runs(settings: Settings) -> list[Run]:
    """All of them, in the order in which they are most wanted."""
    return [
        Run("base", "base", (ALL,), 0),
        Run("twin", "twin", (ALL,), TWIN_STEPS, batch=TWIN_BATCH),
        Run("ours", "ours", PREFIXES, settings.steps, contrast=True),
        *(Run(name, name, serves, settings.steps) for name, serves in RIVALS.items()),
        *(ablation(variant, seed, settings) for seed in SEEDS for variant in VARIANTS),
    ]


def ablation(variant: str, seed: int, settings: Settings) -> Run:
    method = variant if variant in ("one-adapter", "single-pass") else "ours"
    return Run(
        f"ablation-{variant}-{seed}",
        method,
        (settings.ablated_k,),
        settings.short_steps,
        seed,
        answers=variant != "contrast",
        contrast=variant != "answers",
    )


def chosen(all_runs: Iterable[Run], only: str) -> list[Run]:
    """Those whose name fits the pattern."""
    return [run for run in all_runs if fnmatch(run.name, only)]


def key(run: Run, settings: Settings, base: str) -> str:
    """A name for everything that the outcome of ``run`` depends on; ``base`` is the hash of what it begins with."""
    shared = asdict(settings)
    for said_by_the_run in ("steps", "short_steps", "ablated_k"):
        del shared[said_by_the_run]
    whole: dict[str, Any] = {"version": VERSION, "base": base, "shared": shared, "run": asdict(run)}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

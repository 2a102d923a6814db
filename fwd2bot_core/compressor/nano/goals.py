"""The table of goals: one list, said in the card, in the figures, in the docs and by ``compressor evaluate``.

What is measured elsewhere (rivals, ablations, fidelity, speed) is read from its evidence, and only where that is of the
same bundle. What was not measured is said to be so. Knows figures and goals. Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fwd2bot_core.compressor.nano import design, storing

EVIDENCE = Path(__file__).parents[3] / "docs" / "evidence"
NOT_YET = "not measured yet"
ENOUGH_LOSSES = 200
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One row. ``met`` is None where nothing was measured or nothing was asked for."""

    figure: str
    goal: str
    measured: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class _Row:
    figure: str
    goal: str
    found: Callable[[Figures], tuple[str, bool | None]]


def rows(figures: Figures, evidence: Path = EVIDENCE) -> list[Goal]:
    """Every goal with what was measured of it."""
    return [_goal(row, figures) for row in _OWN] + _elsewhere(figures, evidence)


def as_json(table: Sequence[Goal]) -> list[dict[str, Any]]:
    return [asdict(row) for row in table]


def markdown(table: Sequence[Goal]) -> str:
    lines = ["| figure | goal | measured | |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {r.figure} | {r.goal} | {r.measured} | {verdict(r)} |" for r in table])


def verdict(row: Goal) -> str:
    """One word."""
    if row.met is None:
        return "" if row.measured != NOT_YET else "open"
    return "met" if row.met else "**missed**"


def _goal(row: _Row, figures: Figures) -> Goal:
    try:
        measured, met = row.found(figures)
    except KeyError:  # not among what was measured
        measured, met = NOT_YET, None
    return Goal(row.figure, row.goal, measured, met)


def _base(split: str, least: float) -> Callable[[Figures], tuple[str, bool | None]]:
    return lambda figures: _number(figures["accuracy"][split]["all"]["from_image"], least)


def _ratio(split: str, k: int, least: float | None) -> Callable[[Figures], tuple[str, bool | None]]:
    def found(figures: Figures) -> tuple[str, bool | None]:
        one = figures["ratios"][split][str(k)]
        text = f"{one['ratio']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
        return text, None if least is None else one["ratio"] >= least

    return found


def _search(figures: Figures) -> tuple[str, bool | None]:
    one = figures["search"]["9"]
    first = f"by vectors alone {one['first_look'] / one['ceiling']:.3f}"
    whole = f"{one['recall_at_1']:.3f} of {one['ceiling']:.3f}, among {one['among']:,}"
    text = f"{one['over_ceiling']:.3f} ({whole}; {first})"
    return text, one["over_ceiling"] >= 0.95 if one["among"] >= 1_000 else None


def _false(figures: Figures) -> tuple[str, bool | None]:
    ways = figures["false_captions"]
    each = ", ".join(f"{how} {one['accuracy']:.3f}" for how, one in ways.items() if how != "all")
    return f"{ways['all']['accuracy']:.3f} ({each})", ways["all"]["accuracy"] >= 0.93


def _probe(figures: Figures) -> tuple[str, bool | None]:
    one = figures["probe"]
    return f"{one['ratio']:.3f} ({one['tokens']:.3f} of {one['visual']:.3f})", one["ratio"] >= 0.98


def _codec(figures: Figures) -> tuple[str, bool | None]:
    best = storing.cheapest(figures["curve"], 9)
    if best is None:
        return "no codec loses so little", False
    text = f"{best['over_bfloat16']:.3f} ({best['codec']}, {best['bytes']:,} bytes, loses {best['lost']:.2%})"
    return text, best["over_bfloat16"] <= 0.25


def _stored(figures: Figures) -> tuple[str, bool | None]:
    one = figures["stored"]
    smallest_first = sorted(one["times_smaller"].items(), key=lambda pair: float(pair[1]))
    times = ", ".join(f"{name}: {times:,.0f} times" for name, times in smallest_first)
    return f"{one['bytes']:,} bytes; {times}", min(one["times_smaller"].values()) > 1


def _number(value: float, least: float) -> tuple[str, bool]:
    return f"{value:.3f}", value >= least


_OWN = (
    _Row("base, easy-VQA", ">= 0.98", _base("easy-VQA", 0.98)),
    _Row("base, easy-VQA without yes or no", ">= 0.96", lambda f: _number(f["easy_without_yes_or_no"], 0.96)),
    _Row("base, trays", ">= 0.88", _base("trays", 0.88)),
    *(
        _Row(
            f"accuracy from {k} token{'s' * (k > 1)} / from the image, {split}", goal, _ratio(split, k, least)
        )
        for k, goal, least in ((9, ">= 0.995", 0.995), (4, ">= 0.98", 0.98), (1, "report", None))
        for split in ("trays", "easy-VQA")
    ),
    _Row("text to image, R@1 among 1,000 over the ceiling", ">= 0.95", _search),
    _Row("linear probe on tokens / on all visual tokens", ">= 0.98", _probe),
    _Row("false captions (swapped, replaced, added) told from true ones", ">= 0.93", _false),
    _Row("bytes of rounded tokens / bfloat16, losing at most 0.5 %", "<= 0.25", _codec),
    _Row("bytes stored an image, vector included, against JPEG originals", "smaller", _stored),
)


def _elsewhere(figures: Figures, folder: Path) -> list[Goal]:
    """Rows from evidence of this bundle, and open ones for the rest."""
    fingerprint = str(figures.get("fingerprint"))
    return [
        _read(
            folder / "rivals.json", fingerprint, "tokens for 0.98 of the base / best rival", "<= 0.5", _rivals
        ),
        _read(folder / "ablations.json", fingerprint, "the paper's orderings", "hold", _orderings),
        _read(
            folder / "fidelity_auroc.json",
            fingerprint,
            "fidelity predicts lost answers, AUROC",
            ">= 0.9",
            _auroc,
        ),
        _read(
            folder / "first_word.json",
            fingerprint,
            "first word from tokens, batch 32",
            ">= 5 times",
            _first_word,
        ),
    ]


def _read(
    file: Path, fingerprint: str, figure: str, goal: str, found: Callable[[Figures], tuple[str, bool | None]]
) -> Goal:
    if not file.exists():
        return Goal(figure, goal, NOT_YET, None)
    evidence = json.loads(file.read_text())
    if evidence.get("fingerprint", evidence.get("bundle", fingerprint)) != fingerprint:  # speeds say none
        return Goal(figure, goal, NOT_YET, None)
    return _goal(_Row(figure, goal, found), evidence)


def _rivals(evidence: Figures) -> tuple[str, bool | None]:
    if evidence["ratio"] is None:
        return NOT_YET, None
    text = f"{evidence['ratio']:.2f} (best rival: {evidence['best_rival']})"
    if evidence["missing"]:
        text += f"; not run yet: {', '.join(evidence['missing'])}"
    return text, evidence["met"]


def _orderings(evidence: Figures) -> tuple[str, bool | None]:
    said = [row["holds"] for row in evidence["orderings"]]
    open_ = said.count(None)
    if open_ == len(said):
        return NOT_YET, None
    text = f"{said.count(True)} of {len(said)} hold" + (f", {open_} not run yet" if open_ else "")
    return text, None if open_ else all(said)


def _auroc(evidence: Figures) -> tuple[str, bool | None]:
    """The chosen score at the k with the most losses: over single questions."""
    best = max(evidence["results"].items(), key=lambda named: int(named[1]["losses"]))
    rate, losses = best[1]["auroc"][evidence["chosen"]]["questions"], best[1]["losses"]
    if rate is None:
        return "no losses to predict", None
    return f"{rate:.3f} ({best[0]}, {losses:,} losses)", rate >= 0.9 if losses >= ENOUGH_LOSSES else None


def _first_word(evidence: Figures) -> tuple[str, bool | None]:
    """Speed depends on the shape alone, so evidence of this shape is enough."""
    if (evidence["k"], evidence["visual_tokens"]) != (design.PREFIXES[-1], design.VISUAL):
        return NOT_YET, None
    times = next(row["times_faster"] for row in evidence["rows"] if row["batch"] == 32)
    return f"{times:.1f} times", times >= 5

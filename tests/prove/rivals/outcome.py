"""What the runs say together: tokens needed against the best rival, and whether the paper's orderings hold here.

Knows numbers and sentences. Knows nothing of files or models. A run that has not ended is ``None`` and counts for
nothing: what needs it is "not run yet".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from tests.prove.rivals.plan import ALL, RIVALS, SEEDS, VARIANTS

Found = Mapping[str, Mapping[str, Any] | None]  # evidence by the name of the run
ENOUGH = 0.98  # of the base's accuracy
GOAL = 0.5  # of the best rival's tokens


def needed(points: Mapping[int, float], target: float) -> float:
    """Tokens at which accuracy first reaches ``target``, interpolated in log k; never reached counts as all."""
    before: tuple[int, float] | None = None
    for k, accuracy in sorted(points.items()):
        if accuracy >= target:
            if before is None:
                return float(k)
            share = (target - before[1]) / (accuracy - before[1])
            return math.exp(math.log(before[0]) + share * (math.log(k) - math.log(before[0])))
        before = k, accuracy
    return float(ALL)


def against_rivals(found: Found) -> dict[str, Any]:
    """The figure, and all that it is made of."""
    base, twin = (_accuracies(found.get(name)).get(ALL) for name in ("base", "twin"))
    told: dict[str, Any] = {"base": base, "twin": twin, "goal": GOAL, "enough": ENOUGH, "methods": {}}
    for name in ("ours", *RIVALS):
        points = _accuracies(found.get(name))
        tokens = needed(points, ENOUGH * base) if points and base is not None else None
        learned = (found.get(name) or {}).get("learned")
        told["methods"][name] = {"accuracy": points, "needed": tokens, "learned": learned}
    missing = [name for name in ("base", "ours", *RIVALS) if not _accuracies(found.get(name))]
    rivals = {name: told["methods"][name]["needed"] for name in RIVALS}
    ran = {name: tokens for name, tokens in rivals.items() if tokens is not None}
    best = min(
        ran, key=lambda name: (ran[name], -max(told["methods"][name]["accuracy"].values())), default=None
    )
    ours = told["methods"]["ours"]["needed"]
    ratio = ours / ran[best] if best is not None and ours is not None else None
    return told | {
        "missing": missing,
        "best_rival": best,
        "ratio": ratio,
        "met": ratio <= GOAL if ratio is not None and not missing else None,
    }


def ablations(found: Found, rivals: Mapping[str, Any]) -> dict[str, Any]:
    """Means and spreads over the seeds that ended, and the orderings."""
    variants = {}
    for variant in VARIANTS:
        said = [found.get(f"ablation-{variant}-{seed}") for seed in SEEDS]
        at = [next(iter(one["at"].values())) for one in said if one is not None]
        variants[variant] = {
            "seeds": len(at),
            "answers": _spread([one["all"] for one in at]),
            "r1": _spread([one["r1"] for one in at]),
        }
    return {"variants": variants, "orderings": [*orderings(variants), twice(rivals)]}


ORDERINGS = (  # said of whom, against whom, in what
    ("both losses answer at least as well as answers alone", "both", "answers", "answers"),
    ("both losses answer at least as well as contrast alone", "both", "contrast", "answers"),
    ("both losses search at least as well as answers alone", "both", "answers", "r1"),
    ("both losses search at least as well as contrast alone", "both", "contrast", "r1"),
    ("two adapters answer at least as well as one", "both", "one-adapter", "answers"),
    ("two adapters search at least as well as one", "both", "one-adapter", "r1"),
    ("a double pass answers at least as well as a single one", "both", "single-pass", "answers"),
    ("a double pass searches at least as well as a single one", "both", "single-pass", "r1"),
)


def orderings(variants: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whether each expected ordering holds, in means, and how large the difference is beside the spread."""
    return [_ordering(said, variants[one], variants[other], what) for said, one, other, what in ORDERINGS]


def _ordering(said: str, one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> dict[str, Any]:
    if min(one["seeds"], other["seeds"]) < len(SEEDS):
        return {"said": said, "holds": None, "text": "not run yet"}
    difference = one[what]["mean"] - other[what]["mean"]
    spread = math.hypot(one[what]["spread"], other[what]["spread"])
    holds = difference >= 0
    text = f"{'holds' if holds else 'does not hold here'}: {difference:+.3f}"
    if abs(difference) <= spread:
        text += f", which is within the spread of the seeds ({spread:.3f})"
    return {"said": said, "holds": holds, "text": text}


def twice(rivals: Mapping[str, Any], fewer: int = 4, more: int = 9) -> dict[str, Any]:
    """The fourth ordering, from the longer runs: half the tokens of the best rival, close to the base."""
    said = f"twice the compression, {fewer} tokens for {more}, answers as well as the best rival and close to the base"
    ours = rivals["methods"]["ours"]["accuracy"].get(fewer)
    others = {name: rivals["methods"][name]["accuracy"].get(more) for name in RIVALS}
    ran = {name: accuracy for name, accuracy in others.items() if accuracy is not None}
    if ours is None or rivals["base"] is None or len(ran) < len(RIVALS):
        return {"said": said, "holds": None, "text": "not run yet"}
    best = max(ran, key=lambda name: ran[name])
    share = ours / rivals["base"]
    holds = ours >= ran[best] and share >= ENOUGH
    text = (
        f"{'holds' if holds else 'does not hold here'}: ours {ours:.3f} with {fewer}, {best} {ran[best]:.3f} "
        f"with {more}, the base {rivals['base']:.3f} with all {ALL}, ours keeps {share:.3f} of it (close: {ENOUGH})"
    )
    return {"said": said, "holds": holds, "text": text}


def _accuracies(evidence: Mapping[str, Any] | None) -> dict[int, float]:
    return {int(k): one["all"] for k, one in evidence["at"].items()} if evidence else {}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and all values."""
    return {
        "mean": mean(values) if values else None,
        "spread": stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }

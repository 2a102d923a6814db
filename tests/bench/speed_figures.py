"""What the speed table says: rates of ways side by side, and the ratios that have goals.

Knows runs that were measured. Knows nothing of how.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

BOUND, NIGHT = "bound", "Fwd2Bot"
FORWARDS = {"ours": "our forward", "plain": "plain transformers forward"}


@dataclass(frozen=True)
class Run:
    """One way through all photos, once."""

    way: str
    forward: str  # "ours" or "plain"
    workers: int
    setting: str  # "" where there is nothing to choose
    turn: int  # ratios are taken within one
    images_per_second: float
    with_start: float | None  # seconds, all told
    load_average: float  # when it began


@dataclass(frozen=True)
class Ratio:
    """One ratio, the median over rounds."""

    name: str
    ratio: float
    goal: float
    each: tuple[float, ...]

    @property
    def met(self) -> bool:
        return self.ratio >= self.goal


def rates(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row of the table for each way, forward, setting and number of workers."""
    found = dict.fromkeys((one.workers, one.way, one.forward, one.setting) for one in runs)
    return [_rate(runs, *key) for key in sorted(found, key=lambda key: (-key[0], key[2]))]


def _rate(runs: Sequence[Run], workers: int, way: str, forward: str, setting: str) -> dict[str, Any]:
    mine = [
        one
        for one in runs
        if (one.workers, one.way, one.forward, one.setting) == (workers, way, forward, setting)
    ]
    starts = [one.with_start for one in mine if one.with_start is not None]
    return {
        "workers": workers,
        "way": way,
        "forward": FORWARDS[forward],
        "setting": setting,
        "runs": len(mine),
        "images_per_second": round(statistics.median(one.images_per_second for one in mine), 1),
        "seconds_with_start": round(statistics.median(starts), 1) if starts else None,
    }


def figures(runs: Sequence[Run], workers: int, goals: dict[str, float]) -> list[Ratio]:
    """The ratios that the runs allow, at the most ``workers``; ``goals`` by "bound", "ours", "plain", "workers"."""
    night, bound = _fastest(runs, NIGHT, workers), _fastest(runs, BOUND, workers)
    found = [_figure("pipeline / bound of the same processes", night, bound, goals["bound"])]
    for forward, said in FORWARDS.items():
        best = _best_rival(runs, forward, workers)
        found.append(_figure(f"pipeline / best rival, {said}", night, best, goals[forward]))
    one = _fastest(runs, NIGHT, 1)
    if workers > 1:
        found.append(_figure(f"pipeline, {workers} workers / 1", night, one, goals["workers"]))
        alone = _fastest(runs, BOUND, 1)
        found.append(_figure(f"the bound itself, {workers} processes / 1", bound, alone, 0.0))
    return [each for each in found if each.each]


def _fastest(runs: Sequence[Run], way: str, workers: int) -> dict[int, float]:
    """Images a second by round."""
    return {one.turn: one.images_per_second for one in runs if (one.way, one.workers) == (way, workers)}


def _best_rival(runs: Sequence[Run], forward: str, workers: int) -> dict[int, float]:
    """The fastest one's images a second in each round, under whatever setting."""
    best: dict[int, float] = {}
    for one in runs:
        if one.way not in (BOUND, NIGHT) and (one.forward, one.workers) == (forward, workers):
            best[one.turn] = max(best.get(one.turn, 0.0), one.images_per_second)
    return best


def _figure(name: str, over: dict[int, float], under: dict[int, float], goal: float) -> Ratio:
    each = tuple(round(over[turn] / under[turn], 4) for turn in sorted(over.keys() & under.keys()))
    return Ratio(name, round(statistics.median(each), 4) if each else 0.0, goal, each)


def plot(result: dict[str, Any], path: Path) -> None:
    """Images a second of every way at the most workers, one bar each."""
    most = max(row["workers"] for row in result["rates"])
    rows = [row for row in result["rates"] if row["workers"] == most]
    rows.sort(key=lambda row: row["images_per_second"])
    figure = Figure(figsize=(8, 0.45 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = [", ".join(filter(None, (row["way"], row["forward"], row["setting"]))) for row in rows]
    colours = {BOUND: "gray", NIGHT: "tab:orange"}
    bars = axes.barh(
        names,
        [row["images_per_second"] for row in rows],
        color=[colours.get(row["way"], "tab:blue") for row in rows],
    )
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_xlabel(f"images a second, {most} model processes, median")
    figure.savefig(path, metadata={"Date": None})


def page(result: dict[str, Any]) -> str:
    """``speed.md``: the table and the ratios."""
    lines = [
        "# Speed beside what a user would pick instead",
        "",
        f"Made by `python -m tests.bench.speed` on {result['machine']['processor']}, {result['machine']['cores']} "
        f"cores; load average {result['machine']['load_average'][0]} before, {result['load_average_after'][0]} "
        f"after. {result['parameters']['images']} photos of 384x384 pixels, bundle "
        f"{result['parameters']['bundle']}; {result['rounds']} round(s), in which every way runs once, each round in "
        "another order. Versions: "
        + ", ".join(f"{name} {it}" for name, it in result["versions"].items())
        + ".",
        "",
        "![images a second](speed.svg)",
        "",
        "| workers | way | forward | setting | runs | images/s | seconds with start-up |",
        "|---:|---|---|---|---:|---:|---:|",
        *(
            "| " + " | ".join("-" if v is None else str(v) for v in row.values()) + " |"
            for row in result["rates"]
        ),
        "",
        "| ratio, median over rounds | found | goal | |",
        "|---|---:|---:|---|",
        *(
            f"| {one['name']} | {one['ratio']:.3f} | {one['goal'] or '-'} | "
            f"{('met' if one['met'] else 'missed') if one['goal'] else ''} |"
            for one in result["figures"]
        ),
        "",
        *(f"Left out: {reason}\n" for reason in result["left_out"]),
    ]
    return "\n".join(lines)

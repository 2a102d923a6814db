"""The bench's picture: where a night's seconds go, and how near each round came to the bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fwd2bot_core.work import STAGES


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw ``night_speed.json``'s content into ``path``."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    seconds, ratios = figure.subplots(1, 2)
    workers = sorted({one["workers"] for one in result["rounds"]})
    _stages(seconds, result, workers)
    _ratios(ratios, result, workers)
    figure.savefig(path, metadata={"Date": None})


def _stages(axes: Any, result: dict[str, Any], workers: list[int]) -> None:
    width = 0.8 / len(workers)
    for n, count in enumerate(workers):
        mine = [one["night_stages"] for one in result["rounds"] if one["workers"] == count]
        means = [sum(one[stage] for one in mine) / len(mine) for stage in STAGES]
        axes.bar([at + n * width for at in range(len(STAGES))], means, width, label=f"{count} worker(s)")
    axes.set_xticks([at + width * (len(workers) - 1) / 2 for at in range(len(STAGES))], STAGES)
    axes.set_ylabel("seconds, summed over threads and workers")
    axes.set_title("where a night's seconds go")
    axes.legend()


def _ratios(axes: Any, result: dict[str, Any], workers: list[int]) -> None:
    for n, count in enumerate(workers):
        found = [one["ratio"] for one in result["rounds"] if one["workers"] == count]
        axes.plot([n] * len(found), found, "o", alpha=0.6)
        axes.plot([n - 0.2, n + 0.2], [result["median_ratio"][str(count)]] * 2, "-", color="black")
    axes.axhline(result["goal"], linestyle="--", color="gray", label=f"goal {result['goal']}")
    axes.set_xticks(range(len(workers)), [f"{count} worker(s)" for count in workers])
    axes.set_xlim(-0.5, len(workers) - 0.5)
    axes.set_title("night / bound of the same round (line: median)")
    axes.legend()

"""Pictures of the speed benches, drawn from the JSON that they write.

Knows matplotlib and the rows of the tables. Knows nothing of how they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def pass1(result: dict[str, Any], path: Path) -> None:
    """Milliseconds of each way, one panel a model."""
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    figure = Figure(figsize=(4.5 * len(models), 4), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        rows = [row for row in result["rows"] if row["model"] == model]
        _bars(axes, rows, {"plain": "plain_ms", "no logits": "backbone_ms", "ours": "ours_ms"})
        axes.set_title(f"pass 1, {model}\n" + ", ".join(f"{row['times_faster']:.2f}x" for row in rows))
    figure.savefig(path, metadata={"Date": None})


def first_word(result: dict[str, Any], path: Path) -> None:
    """Milliseconds to the first word from an image file and from stored tokens."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    ways = {"image file": "image_ms", "pixels, decoded before": "pixels_ms", "stored tokens": "tokens_ms"}
    _bars(axes, result["rows"], ways)
    faster = ", ".join(f"{row['times_faster']:.1f}x" for row in result["rows"])
    axes.set_title(
        f"time to the first word, {result['model']}, k = {result['k']}\nfile against tokens: {faster}"
    )
    figure.savefig(path, metadata={"Date": None})


def memory(result: dict[str, Any], path: Path) -> None:
    """Peak memory over batch size, one line a use."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for use in dict.fromkeys(row["use"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["use"] == use]
        axes.plot([row["batch"] for row in rows], [row["peak_mb"] for row in rows], "o-", label=use)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch")
    axes.set_ylabel("peak memory of the process, MB")
    axes.set_title(f"memory, {result['model']}")
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def _bars(axes: Any, rows: Sequence[dict[str, Any]], ways: dict[str, str]) -> None:
    """Grouped by batch; the axis is logarithmic, since batches differ by factors."""
    width = 0.8 / len(ways)
    for n, (label, name) in enumerate(ways.items()):
        places = [at + n * width for at in range(len(rows))]
        axes.bar(places, [row[name] for row in rows], width, label=label)
    middle = width * (len(ways) - 1) / 2
    axes.set_xticks([at + middle for at in range(len(rows))], [f"batch {row['batch']}" for row in rows])
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds a batch")
    axes.legend()

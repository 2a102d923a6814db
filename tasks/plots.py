"""The report's figures: numbers in, inline SVG out; equal numbers give equal bytes.

Knows which bars and lines show what. Knows nothing about SQL, HTML or where the numbers come from. Importing it takes
the second that matplotlib needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fwd2bot_core.work import STAGES
from infra.history import Night, PastRun, Rejects
from tasks.drawing import COLOURS, RC, canvas, legend, svg
from tasks.units import size

_DAYS_DRAWN = 92  # longer spans are drawn night by night instead of by the calendar


def images_per_night(nights: Sequence[Night]) -> str:
    """Bars of images compressed, with the failed on top."""
    with matplotlib.rc_context(RC):
        figure, axes = canvas()
        places = _calendar(axes, [night.night for night in nights])
        done = [night.compressed for night in nights]
        axes.bar(places, done, 0.8, color=COLOURS["stored"], label="compressed")
        failed = [night.failed for night in nights]
        if any(failed):
            axes.bar(places, failed, 0.8, bottom=done, color=COLOURS["bad"], label="failed")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylim(0, max(1.0, 1.05 * max(a + b for a, b in zip(done, failed, strict=True))))
        legend(axes)
        best = max(nights, key=lambda night: night.compressed)
        return svg(
            figure,
            "images",
            f"Images per night, {_span(nights)}",
            f"{sum(done):,} images compressed and {sum(failed):,} failures in {len(nights)} nights; "
            f"most on {best.night}: {best.compressed:,}.",
        )


def bytes_per_night(nights: Sequence[Night]) -> str:
    """Pairs of bars: bytes of originals read against bytes stored for them."""
    with matplotlib.rc_context(RC):
        figure, axes = canvas()
        places = _calendar(axes, [night.night for night in nights])
        read, kept = [night.bytes_in for night in nights], [night.bytes_out for night in nights]
        axes.bar([p - 0.2 for p in places], read, 0.4, color=COLOURS["originals"], label="originals")
        axes.bar([p + 0.2 for p in places], kept, 0.4, color=COLOURS["stored"], label="stored")
        axes.set_ylim(0, 1.05 * max([1, *read, *kept]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
        legend(axes)
        return svg(
            figure,
            "bytes",
            f"Bytes per night, {_span(nights)}",
            f"{size(sum(read))} of originals against {size(sum(kept))} stored in {len(nights)} nights.",
        )


def ratio_per_night(nights: Sequence[Night]) -> str:
    """A line of the ratio originals : stored, with the line where both are equal."""
    with matplotlib.rc_context(RC):
        figure, axes = canvas()
        places = _calendar(axes, [night.night for night in nights])
        known = [(at, night.ratio) for at, night in zip(places, nights, strict=True) if night.ratio]
        values = [value for _, value in known]
        axes.plot([at for at, _ in known], values, "o-", color=COLOURS["stored"], linewidth=1.6, markersize=5)
        axes.axhline(1, color=COLOURS["soft"], linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            "as large as the originals",
            (1, 1),
            (0, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color=COLOURS["soft"],
            fontsize=10,
        )
        axes.set_ylim(0, 1.15 * max([1.5, *values]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} : 1"))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        said = f"between {min(values):.2f} and {max(values):.2f}" if values else "nothing was compressed"
        return svg(figure, "ratio", f"Ratio of originals to stored bytes, {_span(nights)}", f"{said}.")


def fidelity(scores: Mapping[str, Any]) -> str:
    """Bars: images by fidelity, in tenths, with the threshold."""
    with matplotlib.rc_context(RC):
        figure, axes = canvas()
        axes.bar([(n + 0.5) / 10 for n in range(10)], scores["tenths"], 0.092, color=COLOURS["stored"])
        axes.axvline(scores["threshold"], color=COLOURS["bad"], linewidth=1.4, linestyle=(0, (4, 3)))
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        return svg(
            figure,
            "fidelity",
            "Images by fidelity",
            f"{scores['judged']:,} images judged, mean {scores['mean']:.3f}, lowest {scores['lowest']:.3f}; "
            f"{scores['below']:,} below the threshold of {scores['threshold']:g}.",
        )


def rejects_by_reason(rejects: Sequence[Rejects]) -> str:
    """Horizontal bars: images by reason, those that a later run compressed set apart."""
    with matplotlib.rc_context(RC):
        figure, axes = canvas(height=max(1.6, 1.0 + 0.32 * len(rejects)), grid="x")
        names = [item.reason for item in rejects]
        left = [item.images - item.resolved for item in rejects]
        done = [item.resolved for item in rejects]
        axes.barh(names, left, 0.6, color=COLOURS["bad"], label="not compressed")
        if any(done):
            axes.barh(names, done, 0.6, left=left, color=COLOURS["stored"], label="compressed by a later run")
        for item, name in zip(rejects, names, strict=True):
            axes.annotate(
                f"{item.images:,}", (item.images, name), (4, 0), textcoords="offset points", va="center"
            )
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(item.images for item in rejects))
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        legend(axes)
        said = ", ".join(f"{item.reason} {item.images:,} ({item.resolved:,} resolved)" for item in rejects)
        return svg(figure, "rejects", "Rejected images by reason", f"{said}.")


def time_per_stage(timed: Sequence[tuple[str, PastRun]]) -> str:
    """Two panels with one row a (label, run): seconds of each stage, and how the workers' time divides."""
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(14.2, 1.5 + 0.38 * len(timed)), layout=ConstrainedLayoutEngine(wspace=0.05))
        stages, shares = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        rows, labels = range(len(timed)), [label for label, _ in timed]
        _stack(stages, rows, [run.stage_seconds for _, run in timed])
        whole = [run.worker_seconds for _, run in timed]
        mark: dict[str, Any] = {"markersize": 15, "markeredgewidth": 2, "label": "workers × wall time"}
        stages.plot(whole, rows, "|", color=COLOURS["ink"], **mark)
        stages.set_yticks(list(rows), labels)
        stages.invert_yaxis()
        stages.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        _titled(stages, "Seconds in each stage, summed over threads and workers")
        _stack(shares, rows, [run.shares for _, run in timed])
        shares.set_xlim(0, 100)
        shares.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
        _titled(shares, "How the workers' wall time divides")
        said = (
            f"{label}: " + ", ".join(f"{stage} {run.stage_seconds[stage]:.2f} s" for stage in STAGES)
            for label, run in timed
        )
        return svg(figure, "stages", "Time per stage of the latest runs", f"{'; '.join(said)}.")


def _titled(axes: Axes, text: str) -> None:
    """A title above the legend."""
    axes.set_title(text, fontsize=11, loc="left", pad=30)
    axes.tick_params(length=0)
    legend(axes)


def _stack(axes: Axes, rows: Sequence[int], parts: Sequence[dict[str, float]]) -> None:
    """Stacked horizontal bars; every dictionary has the same names in the same order."""
    axes.grid(axis="x")
    begin = [0.0] * len(parts)
    for name in parts[0]:
        widths = [part[name] for part in parts]
        colour = COLOURS[name]
        axes.barh(
            rows,
            widths,
            0.62,
            left=begin,
            color=colour,
            edgecolor=COLOURS["paper"],
            linewidth=0.8,
            label=name,
        )
        begin = [a + b for a, b in zip(begin, widths, strict=True)]


def _calendar(axes: Axes, nights: Sequence[date]) -> list[float]:
    """Where each night stands: by the calendar, so that a night without a run shows as a gap."""
    days = [night.toordinal() for night in nights]
    by_date = days[-1] - days[0] <= _DAYS_DRAWN
    places = [float(day - days[0]) for day in days] if by_date else [float(n) for n in range(len(days))]
    step = -(-len(nights) // 7)
    shown = list(range(len(nights) - 1, -1, -step))  # from the newest back, so that it always has its label
    axes.set_xticks([places[n] for n in shown], [f"{nights[n]:%d %b}".lstrip("0") for n in shown])
    middle, half = (places[0] + places[-1]) / 2, max(3.0, (places[-1] - places[0]) / 2 + 0.7)
    axes.set_xlim(middle - half, middle + half)
    return places


def _span(nights: Sequence[Night]) -> str:
    first, last = nights[0].night, nights[-1].night
    return f"{first}" if first == last else f"{first} to {last}"

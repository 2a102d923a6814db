"""Figures for management: bytes kept month by month, fidelity night by night. Numbers in, inline SVG out.

Knows which bars and lines show what. Knows nothing about SQL, HTML or where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.drawing import COLOURS, RC, canvas, legend, svg
from tasks.kpi import Month
from tasks.kpi_fidelity import Trend
from tasks.units import size

_LOCK = Lock()  # matplotlib's settings belong to the process, and a console draws for several visitors
_LABELLED = 7  # along the lower edge


def bytes_by_month(months: Sequence[Month]) -> str:
    """Pairs of bars: bytes of the originals that are known and not destroyed, against bytes of all tokens."""
    with _LOCK, matplotlib.rc_context(RC):
        figure, axes = canvas()
        places = range(len(months))
        held, kept = [m.held_original_bytes for m in months], [m.held_token_bytes for m in months]
        axes.bar([p - 0.2 for p in places], held, 0.4, color=COLOURS["originals"], label="originals kept")
        axes.bar([p + 0.2 for p in places], kept, 0.4, color=COLOURS["stored"], label="tokens stored")
        axes.set_ylim(0, 1.05 * max([1, *held, *kept]))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
        _names(axes, [month.name for month in months])
        legend(axes)
        last = months[-1]
        return svg(
            figure,
            "kept",
            f"Bytes kept at the end of each month, {months[0].name} to {last.name}",
            f"At the end of {last.name} {size(last.held_original_bytes)} of originals and "
            f"{size(last.held_token_bytes)} of tokens.",
        )


def fidelity_by_night(trend: Trend, number: int) -> str:
    """A line of the mean and one of the lowest; ``number`` keeps the figures of one page apart."""
    with _LOCK, matplotlib.rc_context(RC):
        figure, axes = canvas()
        places = range(len(trend.nights))
        marks: dict[str, Any] = {"linewidth": 1.6, "markersize": 4}
        axes.plot(
            places, [n.mean for n in trend.nights], "o-", color=COLOURS["stored"], label="mean", **marks
        )
        axes.plot(
            places, [n.lowest for n in trend.nights], "s--", color=COLOURS["bad"], label="lowest", **marks
        )
        axes.set_ylim(0, 1.05)
        _names(axes, [f"{n.night:%d %b}".lstrip("0") for n in trend.nights])
        legend(axes)
        return svg(
            figure,
            f"drift-{number}",
            f"Fidelity of {trend.collection} by night",
            f"Mean of the newest nights {trend.recent:.3f}, over {trend.recent_images:,} images.",
        )


def _names(axes: Axes, names: Sequence[str]) -> None:
    """At most some, from the newest back."""
    step = max(1, -(-len(names) // _LABELLED))
    shown = list(range(len(names) - 1, -1, -step))
    axes.set_xticks(shown, [names[n] for n in shown])
    axes.set_xlim(-0.7, max(2.7, len(names) - 0.3))

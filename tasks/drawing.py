"""One look for all figures: inline SVG with text as text, colours from the page, equal numbers equal bytes.

Colours are the page's CSS variables, so that one drawing serves light, dark and print. Each figure carries a title and
a description for those who do not see it. Knows matplotlib, whose import takes a second. Knows no figure.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fwd2bot_core.work import STAGES

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
ET.register_namespace("", _SVG)
ET.register_namespace("xlink", _XLINK)

# matplotlib wants real colours; each stands for a variable of the page and is replaced after drawing.
_NAMES = ("ink", "soft", "line", "paper", "bad", "originals", "stored", *STAGES, "rest")
COLOURS = {name: f"#0102{number:02x}" for number, name in enumerate(_NAMES, start=16)}

RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fwd2bot report",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: equal metrics, equal bytes, everywhere
    "font.size": 11,
    "text.parse_math": False,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.edgecolor": COLOURS["line"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["soft"],
    "ytick.labelcolor": COLOURS["soft"],
    "figure.facecolor": "none",
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
}


def canvas(*, height: float = 2.7, grid: Literal["x", "y"] = "y") -> tuple[Figure, Axes]:
    """An empty figure of the usual width, with a grid along one axis."""
    figure = Figure(figsize=(7.0, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(axis=grid)
    axes.tick_params(length=0)
    return figure, axes


def legend(axes: Axes) -> None:
    """Above the axes, in one row, where no bar can lie under it."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=8,
        borderaxespad=0.2,
        handlelength=1.1,
        columnspacing=1.2,
        handletextpad=0.5,
    )


def svg(figure: Figure, name: str, title: str, description: str) -> str:
    """One <svg> element: no declaration, no foreign style, ids of its own, a title, colours from the page."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - drawn here, a moment ago
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":  # would restyle the whole page
                parent.remove(child)
        _adapt(parent, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc", "class": "figure"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        child.text = text
        root.insert(place, child)
    return ET.tostring(root, encoding="unicode")


def _adapt(element: ET.Element, name: str) -> None:
    """Ids that are referred to get the figure's name before them, the others go; colours become variables."""
    if element.tag == f"{{{_SVG}}}g":
        element.attrib.pop("id", None)
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == f"{{{_XLINK}}}href":
            element.set(key, value.replace("#", f"#{name}-"))
        elif key == "style":
            element.set(key, _restyle(value))
        else:
            element.set(key, value.replace("url(#", f"url(#{name}-"))


def _restyle(style: str) -> str:
    for name, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{name})")
    return re.sub(r"font-family: [^;]*;? ?", "", style)

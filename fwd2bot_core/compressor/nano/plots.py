"""The nano bundle's figures as SVG, the same bytes for the same numbers. Knows plots; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

from fwd2bot_core.compressor.nano import design
from fwd2bot_core.tokens.codec_name import NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Mapping[str, Any]
ENOUGH = 0.98


def all_of(figures: Figures) -> dict[str, bytes]:
    """Each plot's file, of what was measured."""
    return {"curve.svg": curve(figures), "boundary.svg": boundary(figures)} if "curve" in figures else {}


def curve(figures: Figures) -> bytes:
    """Rate and distortion: bytes an image against accuracy on trays, a line for each codec, a point for each k."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name in NAMES:
            rows = [row for row in figures["curve"] if row["codec"] == name]
            label = "exact (float32)" if name == "exact" else name
            axes.plot(
                [row["bytes"] for row in rows],
                [row["accuracy"] for row in rows],
                "o-",
                lw=1,
                ms=4,
                label=label,
            )
        for row in figures["curve"]:
            if row["codec"] == NAMES[-1]:
                at = (row["bytes"], row["accuracy"])
                axes.annotate(f"k={row['k']}", at, xytext=(-4, 6), textcoords="offset points", ha="right")
        axes.set(xscale="log", xlabel="bytes of tokens an image", ylabel="right answers, trays")
        axes.legend(frameon=False)

    return _drawn(draw, (5.6, 3.6))


def boundary(figures: Figures) -> bytes:
    """What is lost first: accuracy from tokens over that from the image, by kind of question."""

    def draw(figure: Figure) -> None:
        below = "from_image_twin" if figures["below"] == "twin" else "from_image"
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (name, table) in zip(panels, figures["accuracy"].items(), strict=True):
            for number, (kind, row) in enumerate(table.items()):
                kept = [row[f"from_{k}"] / row[below] if row[below] else 0 for k in design.PREFIXES]
                style: dict[str, Any] = {"color": "black", "lw": 2} if kind == "all" else {"lw": 1}
                axes.plot(design.PREFIXES, kept, "o-" if number < 10 else "s--", ms=3, label=kind, **style)
            axes.axhline(ENOUGH, color="gray", lw=0.8, ls=":")
            axes.set(xscale="log", xlabel="tokens", title=name)
            axes.set_xticks(design.PREFIXES, [str(k) for k in design.PREFIXES], minor=False)
            axes.minorticks_off()
            axes.legend(frameon=False, fontsize=7, ncols=2)
        panels[0].set_ylabel("accuracy / from the image")

    return _drawn(draw, (8.4, 3.8))


def _drawn(draw: Any, size: tuple[float, float]) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "fwd2bot", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()

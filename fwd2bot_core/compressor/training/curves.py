"""Loss curves as SVG, the same bytes for the same numbers. Knows plots; knows nothing of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO


def plot(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """Each term of each history over its "step", one panel a history."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "fwd2bot", "font.size": 9}):
        figure = Figure(figsize=(2 + 3.5 * len(curves), 2.8), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for panel, (name, history) in zip(panels, curves.items(), strict=True):
            for term in dict.fromkeys(key for at in history for key in at if key != "step"):
                known = [at for at in history if term in at]  # a term may end before the training does
                panel.plot([at["step"] for at in known], [at[term] for at in known], label=term, lw=1)
            panel.set(title=name, xlabel="step", ylabel="loss", yscale="log" if history else "linear")
            if history:
                panel.legend(frameon=False)
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()

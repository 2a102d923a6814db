"""The outcome for people: two pages in Markdown and two plots. Knows words and lines alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.prove.rivals.plan import ALL, BATCH, PREFIXES, SEEDS, SQUARES, Settings

NAMES = {
    "ours": "ours: double forward pass, both losses",
    "pooling": "average pooling of the visual tokens",
    "resizing": "a smaller picture",
    "querying": "query transformer, two layers",
    "single-pass": "single pass, the question sees the summary tokens alone",
    "both": "both losses, two adapters, double pass",
    "answers": "answers alone",
    "contrast": "contrast alone",
    "one-adapter": "one adapter for both passes",
}
NOT_YET = "not run yet"


def rivals_page(told: Mapping[str, Any], settings: Settings, machine: str) -> str:
    ks = sorted({*PREFIXES, *SQUARES})
    lines = [
        "# Tokens that are needed, against four rivals",
        "",
        f"Made by `python -m tests.prove.rivals`: {settings.steps} steps of {BATCH} pictures for each, the "
        f"same pictures, questions and rate; {settings.trays} held-out trays. {machine}".rstrip(),
        "",
        "| method | learned numbers | "
        + " | ".join(f"{k}" for k in ks)
        + f" | tokens for {told['enough']} of the base |",
        "|---|--:|" + "--:|" * (len(ks) + 1),
    ]
    for name, one in told["methods"].items():
        cells = (
            [_number(one["accuracy"].get(k)) for k in ks]
            if one["accuracy"]
            else [NOT_YET, *[""] * (len(ks) - 1)]
        )
        lines.append(
            f"| {NAMES[name]} | {'' if one['learned'] is None else format(one['learned'], ',')} | "
            + " | ".join(cells)
            + f" | {_needed(one['needed'])} |"
        )
    lines += ["", f"Exact answers by number of tokens. {_bases(told)}", "", f"**{_verdict(told)}**", ""]
    return "\n".join([*lines, *_FAIRNESS, "", "![Exact answers by number of tokens](rivals.svg)", ""])


_FAIRNESS = (
    "What is the same: the frozen model, LoRA of one rank on every linear for whoever reads, steps, batches, rate, "
    "seed; each step draws one of the numbers of tokens that the method serves. What is not:",
    "",
    "- Ours serves 1, 2, 4 and 9 tokens, the rivals 1, 4, 9, 16 and 36, so that one that needs more may show it.",
    "- Ours writes with a second set of pairs and learns by both losses; the rivals learn by answers alone.",
    "- Ours, the query transformer and the single pass write tokens of their own, and are led at first: their first "
    "nine are drawn to the means of the nine compartments' visual tokens, as the bundle's are. The other two begin "
    "readable.",
    "- The query transformer has two layers of its own. The smaller picture has a copy of the vision tower that "
    "learns, since the tower was never trained on small ones.",
    "- A token of the single pass is the keys and values of every layer, many times the numbers of one of the "
    "others; it is counted as one token all the same.",
)


def _bases(told: Mapping[str, Any]) -> str:
    base, twin = (_number(told[name]) or NOT_YET for name in ("base", "twin"))
    trained = "with LoRA of the same rank and as many steps as the bundle's"
    return f"The base with all {ALL} visual tokens: {base}; {trained}: {twin}."


def _verdict(told: Mapping[str, Any]) -> str:
    if told["ratio"] is None:
        return f"Tokens of ours over the best rival's: {NOT_YET}."
    rest = f"; not run yet: {', '.join(told['missing'])}" if told["missing"] else ""
    goal = (
        ""
        if told["met"] is None
        else f", which {'meets' if told['met'] else 'misses'} the goal of {told['goal']}"
    )
    return f"Tokens of ours over those of the best rival ({told['best_rival']}): {told['ratio']:.2f}{goal}{rest}."


def ablations_page(told: Mapping[str, Any], settings: Settings, machine: str) -> str:
    lines = [
        f"# What each part gives, with {settings.ablated_k} tokens",
        "",
        f"Made by `python -m tests.prove.rivals`: {settings.short_steps} steps of {BATCH} pictures, "
        f"{len(SEEDS)} seeds each, a short training; {settings.trays} held-out trays. Mean and "
        f"standard deviation over the seeds. All are led at first, contrast alone, too, as on the page of "
        f"rivals (here to the means of as many squares as there are tokens). {machine}".rstrip(),
        "",
        f"| | seeds | exact answers | text-to-image R@1 among {settings.trays} |",
        "|---|--:|--:|--:|",
    ]
    for name, one in told["variants"].items():
        lines.append(f"| {NAMES[name]} | {one['seeds']} | {_spread(one['answers'])} | {_spread(one['r1'])} |")
    lines += ["", "What the paper leads one to expect, and what was found:", ""]
    lines += [f"- {one['said']}: **{one['text']}**" for one in told["orderings"]]
    return "\n".join([*lines, "", "![Answers and search of each variant](ablations.svg)", ""])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _needed(tokens: float | None) -> str:
    if tokens is None:
        return ""
    return f"never ({ALL})" if tokens >= ALL else f"{tokens:.1f}"


def _spread(one: Mapping[str, Any]) -> str:
    if one["mean"] is None:
        return NOT_YET
    return f"{one['mean']:.3f}" + ("" if one["spread"] is None else f" ± {one['spread']:.3f}")


def rivals_plot(told: Mapping[str, Any], path: Path) -> None:
    """Accuracy over tokens, and what is to be reached."""
    with _figure(path, (7, 4)) as figure:
        axes = figure.subplots()
        for name, one in told["methods"].items():
            points = sorted((int(k), accuracy) for k, accuracy in one["accuracy"].items())
            if points:
                axes.plot(*zip(*points, strict=True), "o-", lw=2 if name == "ours" else 1, label=NAMES[name])
        if told["base"] is not None:
            axes.axhline(told["base"], color="gray", lw=0.8, label=f"the base, all {ALL} tokens")
            axes.axhline(
                told["base"] * told["enough"], color="gray", lw=0.8, ls="--", label=f"{told['enough']} of it"
            )
        axes.set(xscale="log", xlim=(0.9, 40), ylim=(0, 1), xlabel="tokens", ylabel="exact answers")
        ks = sorted({*PREFIXES, *SQUARES})
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)


def ablations_plot(told: Mapping[str, Any], path: Path) -> None:
    """A bar for each variant's mean and a dot for each seed."""
    with _figure(path, (9, 3)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        titles = {"answers": "exact answers", "r1": "text-to-image R@1"}
        for panel, (what, title) in zip(panels, titles.items(), strict=True):
            for row, one in enumerate(told["variants"].values()):
                if one[what]["mean"] is not None:
                    panel.barh(row, one[what]["mean"], color="lightsteelblue")
                    panel.plot(one[what]["values"], [row] * one["seeds"], "k.", ms=4)
            panel.set(title=title, xlim=(0, 1))
        panels[0].set_yticks(range(len(told["variants"])), [NAMES[name] for name in told["variants"]])
        panels[0].invert_yaxis()


class _figure:
    """A figure that is written to a file at the end, the same bytes for the same numbers."""

    def __init__(self, path: Path, size: tuple[float, float]) -> None:
        from matplotlib.figure import Figure

        self._path, self._figure = path, Figure(figsize=size, layout="constrained")

    def __enter__(self) -> Any:
        return self._figure

    def __exit__(self, kind: object, *_: object) -> None:
        import matplotlib as mpl

        if kind is None:
            with mpl.rc_context({"svg.hashsalt": "fwd2bot"}):
                self._figure.savefig(self._path, metadata={"Date": None})

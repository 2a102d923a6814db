"""The endurance test's outcome for people: a page, and memory over time beside what went wrong.

Knows the dictionary that ``endurance`` writes. Judges nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLOURS = {"killer": "#b3261e", "night": "#1b5e20", "backfill": "#0d47a1", "weather": "#757575"}


def markdown(said: dict[str, Any]) -> str:
    """A page."""
    asked, problems = said["asked"], said["problems"]
    lines = [
        "# Nights and backfills while everything fails",
        "",
        f"`python -m tests.prove.endurance --minutes {asked['minutes']:g}` (bundle {asked['bundle']}, seed "
        f"{asked['seed']}) on {said['machine'].get('cpu') or said['machine'].get('processor') or 'this machine'}. "
        + ("Everything holds." if not problems else f"{len(problems)} things do not hold:"),
        "",
        *(f"- {problem}" for problem in problems),
        *([""] if problems else []),
        f"{said['photos']:,} photos, each compressed once: "
        + ", ".join(f"{number:,} by {kind}s" for kind, number in said["compressed_by"].items())
        + ". "
        + _all_is_well(said) * (not problems),
        "",
        "![Memory of each process over time](endurance.svg)",
        "",
        "| what | how often |",
        "|---|---|",
    ]
    for title, name in (
        ("killed", "deaths"),
        ("started again", "restarts"),
        ("requests to the store", "requests"),
        ("runs", "runs"),
        ("rejects on the way, all compressed in the end", "rejects_on_the_way"),
    ):
        lines += [f"| {title}: {what} | {number:,} |" for what, number in sorted(said[name].items())]
    lines += [
        "",
        "| memory of warm processes, MB (95 %) | first half | second half | samples |",
        "|---|---|---|---|",
    ]
    for role, (first, last, samples) in said["warm_mb"].items():
        lines.append(f"| {role} | {first:.0f} | {last:.0f} | {samples} |")
    lines += ["", "## Incidents", "", "| second | who | what | exit code |", "|---|---|---|---|"]
    for entry in said["incidents"]:
        what = str(entry["what"]).replace("|", "\\|")[:160]
        lines.append(f"| {entry['at']} | {entry['who']} | {what} | {entry.get('code', '')} |")
    return "\n".join(lines) + "\n"


def _all_is_well(said: dict[str, Any]) -> str:
    return (
        "The ledger, the store and the manifest agree, `fwd2bot verify` and `fwd2bot audit verify` find nothing, every "
        f"backfill's sums come out. Backfills made way for a night {said['yielded']:,} times."
    )


def draw(said: dict[str, Any], path: Path) -> None:
    """Memory in MB over seconds; deaths as lines."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4))
    roles = sorted({name for sample in said["memory"] for name in sample} - {"at"})
    for role in roles:
        points = [(sample["at"], sample[role]) for sample in said["memory"] if role in sample]
        axes.plot(*zip(*points, strict=True), ".", markersize=2, label=role)
    for entry in said["incidents"]:
        if entry["who"] == "killer":
            axes.axvline(entry["at"], color=COLOURS["killer"], linewidth=0.4)
    axes.set_xlabel("seconds; a red line is a death")
    axes.set_ylabel("MB")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)

"""A run's summary for people."""

from __future__ import annotations

from tasks.summary import NightSummary


def markdown(summary: NightSummary) -> str:
    """The summary as the Prefect artifact shows it."""
    rows = [
        ("state", str(summary.state)),
        ("listed / new", f"{summary.listed:,} / {summary.new:,}"),
        ("compressed", f"{summary.compressed:,}"),
        ("failed", f"{summary.failed:,}"),
        ("left for the next night", f"{summary.left:,}"),
        (
            "originals / stored",
            f"{summary.bytes_in:,} / {summary.bytes_out:,} bytes (ratio {summary.ratio:.2f})",
        ),
        ("images a second", f"{summary.images_per_second:.1f}"),
    ]
    lines = [f"# {summary.collection}, {summary.night}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    if summary.failures:
        lines += ["", "| image | reason | detail |", "|---|---|---|"]
        lines += [f"| `{f.key}` | {f.reason} | {f.detail} |" for f in summary.failures]
    return "\n".join(lines)

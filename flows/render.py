"""Plain values as tables for people. Nothing here decides or computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fwd2bot_core.compressor.protocol import Answer
from infra.lookup import Stored
from infra.scores import Scores
from tasks.estimate import Estimate
from tasks.summary import NightSummary
from tasks.units import duration, size, visible

_COLOURS = {
    "completed": "green",
    "partly_failed": "yellow",
    "failed": "red",
    "abandoned": "yellow",
    "running": "cyan",
    "died": "yellow",  # the next night takes over
}
NARROW = 70  # columns


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table of plain values; numbers are grouped and right-aligned."""
    drawn = Table(title=title, title_justify="left", header_style="bold")
    rows = [list(row) for row in rows]
    for number, column in enumerate(columns):
        numeric = any(isinstance(row[number], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    return drawn


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    text = visible(str(value))
    return f"[{_COLOURS[text]}]{text}[/]" if text in _COLOURS else escape(text)


def show_night(console: Console, summary: NightSummary) -> None:
    """What a run did."""
    colour = _COLOURS.get(str(summary.state), "white")
    console.print(f"[bold {colour}]{summary.state}[/]  {escape(visible(summary.message))}", highlight=False)
    if not (summary.compressed or summary.failed or summary.left):
        return
    rows: list[tuple[str, Any]] = [
        ("run", summary.run_id),
        ("images compressed", summary.compressed),
        ("shards", summary.shards),
        ("originals", size(summary.bytes_in)),
        ("stored", f"{size(summary.bytes_out)} (ratio {summary.ratio:.1f})"),
        ("images a second", round(summary.images_per_second, 1)),
        ("compressing / in all", f"{summary.compress_seconds:.1f} s / {summary.wall_seconds:.1f} s"),
        (
            "stages, summed over threads",
            ", ".join(f"{k} {v:.1f} s" for k, v in summary.stage_seconds.items() if v or k != "fidelity"),
        ),
    ]
    if summary.fidelity is not None:
        rows.append(("fidelity", told(summary.fidelity)))
    if summary.unjudged:
        rows.append(("fidelity not known", f"{summary.unjudged:,} chosen could not be judged"))
    if summary.resumed_batches:
        rows.append(("batches resumed from a dead run", summary.resumed_batches))
    drawn = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in rows:
        drawn.add_row(name, _cell(value))
    console.print(drawn)
    if summary.failures:
        console.print(
            table(
                "not compressed",
                ("image", "reason", "detail"),
                ((f.key, f.reason, f.detail) for f in summary.failures),
            )
        )
        if summary.failed > len(summary.failures):
            console.print(
                f"... and {summary.failed - len(summary.failures):,} more: `fwd2bot status`, `fwd2bot report`"
            )
    for problem in summary.broken:
        console.print(f"[yellow]a batch is left for the next night:[/] {escape(visible(problem))}")


def told(scores: Scores) -> str:
    """Fidelity of many images in one line."""
    return (
        f"{scores.judged:,} judged: mean {scores.mean:.3f}, lowest {scores.lowest:.3f}, "
        f"{scores.below:,} below {scores.threshold:g}"
    )


def show_plan(console: Console, plan: Estimate) -> None:
    """What a night would do."""
    if plan.nothing:
        console.print(f"nothing new among {plan.listed:,} images of {plan.collection}")
    rows = [
        ("collection", plan.collection),
        ("compressor", plan.compressor),
        ("listed", plan.listed),
        ("to compress", plan.images),
        ("  of these resumed from a dead run", plan.resumed),
        ("originals", size(plan.bytes)),
        ("batches", f"{plan.batches:,} of up to {plan.batch_size:,} images"),
        ("to be stored", f"{size(plan.stored_bytes)} ({plan.stored_from})"),
        (
            "time",
            f"{duration(plan.seconds)} ({plan.seconds_from})"
            if plan.seconds is not None
            else plan.seconds_from,
        ),
        ("failed before (`fwd2bot retry`)", plan.failed),
    ]
    drawn = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in rows:
        drawn.add_row(name, _cell(value))
    console.print(drawn)


def show_answer(console: Console, stored: Stored, answer: Answer) -> None:
    """What the model said, and of which image. Its words are text, whatever brackets it writes."""
    said = Text(visible(answer.text))
    said.append(f"   (confidence {answer.confidence:.2f}, from stored tokens)", "dim")
    version = f"{'superseded ' if stored.superseded else ''}version {stored.identity}"
    console.print(said)
    console.print(Text(visible(f"of {stored.key} in {stored.collection}, {version}"), "dim"))


def show_status(console: Console, status: dict[str, Any]) -> None:
    """Runs, totals, open failures. A narrow screen gets fewer columns rather than folded ones."""
    wide = console.width >= NARROW
    for working in status["working"]:
        console.print(
            f"[cyan]working:[/] {working['run_id']} on {working['slot']} ({working['host']}:{working['pid']})"
        )
    alive = {working["run_id"] for working in status["working"]}
    several = len({run["collection"] for run in status["runs"]}) > 1
    runs = [
        {
            **run,
            "images": run["compressed"],
            "state": "died" if run["state"] == "running" and run["run_id"] not in alive else run["state"],
        }
        for run in status["runs"]
    ]
    names: tuple[str, ...] = ("night", *(["collection"] if several else []), "state", "images")
    if wide:
        names = ("run_id", "collection", "state", "compressed", "failed", "left")
    console.print(table("runs, newest first", names, ([run[name] for name in names] for run in runs)))
    console.print(_committed(status["collections"], wide))
    if status["failures"]:
        console.print(
            table(
                "not compressed",
                ("collection", "reason", "images"),
                ((f["collection"], f["reason"], f["images"]) for f in status["failures"]),
            )
        )


def _committed(collections: list[dict[str, Any]], wide: bool) -> Table:
    names: tuple[str, ...] = ("collection", "images", "stored")
    if wide:
        names = ("collection", "compressor", "images", "shards", "originals", "stored")
    rows = (
        {
            **c,
            "compressor": f"{c['compressor']} {c['fingerprint'][:12]}",
            "originals": size(c["source_bytes"]),
            "stored": size(c["token_bytes"]),
        }
        for c in collections
    )
    return table("committed", names, ([row[name] for name in names] for row in rows))


def _told(fact: dict[str, Any]) -> str:
    """What the audit log says about an image, and whether that is proven."""
    what = fact.get("outcome", fact["type"]) + (f", {fact['reason']}" if "reason" in fact else "")
    where = f" in {fact['segment']}" if fact["segment"] else ""
    signed = (
        f", by the checkpoint of {fact['checkpoint']:,} events"
        if fact["proof"] != "not signed for yet"
        else ""
    )
    return f"{fact['occurred_at'][:19]}Z {what}{where}: {fact['proof']}{signed}"


def show_life(console: Console, versions: list[dict[str, Any]]) -> None:
    """One image's whole life, a version after the other."""
    for version in versions:
        console.print(
            f"[bold]{escape(visible(version['key']))}[/] in {version['collection']}", highlight=False
        )
        rows: list[tuple[str, Any]] = [
            (name, version[name])
            for name in (
                "identity",
                "bytes",
                "modified",
                "first_seen_at",
                "superseded_at",
                "sha256",
                "format",
            )
        ]
        rows.append(("pixels", f"{version['width']} x {version['height']}" if version["width"] else None))
        rows += [
            ("claim", f"{c['state']} in batch {c['batch_id']} of {c['run_id']}") for c in version["claims"]
        ]
        rows += [
            (
                "summary tokens",
                f"{s['token_bytes']:,} bytes ({s['codec']}) in {s['path']} row {s['row']}, "
                f"{s['committed_at']} by {s['run_id']}",
            )
            for s in version["summaries"]
        ]
        rows += [
            ("fidelity", f"{s['fidelity']:.3f} over {s['probes']} probes, worst at {s['worst_probe']!r}")
            for s in version["summaries"]
            if s["fidelity"] is not None
        ]
        rows += [
            (
                "failure",
                f"{f['reason']}: {f['detail']} ({f['failed_at']}, {f['run_id']})"
                + (f", resolved {f['resolved_at']}" if f["resolved_at"] else ""),
            )
            for f in version["failures"]
        ]
        rows += [(f"event {a['event']}", _told(a)) for a in version["audit"]]
        drawn = Table(show_header=False, box=None, padding=(0, 2))
        for name, value in rows:
            drawn.add_row(name, _cell(value))
        console.print(drawn)

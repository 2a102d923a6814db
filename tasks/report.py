"""A run's summary for people: Markdown for Prefect's artifact, and a page about the whole installation.

Knows which facts a reader needs and hands them to a template. Knows nothing about SQL, drawing or how a night works.
matplotlib is imported when a page is written, not before: it takes a second.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import fwd2bot_core
from fwd2bot_core.errors import UsageError
from fwd2bot_core.tokens.manifest import DUCKDB, POLARS, PYARROW
from fwd2bot_core.work import STAGES
from infra import anchoring, archive, audit_log, checkpoints, history
from infra.audit_restores import Restore, restores
from infra.history import History, PastRun
from infra.installation import Installation
from tasks.page import templates
from tasks.publish import pointer_of, readable_root
from tasks.summary import NightSummary
from tasks.units import visible

if TYPE_CHECKING:
    from jinja2 import Environment

NAMED = 200  # failures named on the page
TIMED = 8  # runs whose stages are drawn


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
    if summary.fidelity is not None:
        low = (
            f"{summary.fidelity.below:,} of {summary.fidelity.judged:,} below {summary.fidelity.threshold:g}"
        )
        rows.append(("fidelity", f"mean {summary.fidelity.mean:.3f}, {low}"))
    if summary.unjudged:
        rows.append(("fidelity not known", f"{summary.unjudged:,} chosen could not be judged"))
    lines = [f"# {summary.collection}, {summary.night}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    if summary.failures:
        lines += ["", "| image | reason | detail |", "|---|---|---|"]
        lines += [f"| {_code(f.key)} | {f.reason} | {_code(f.detail)} |" for f in summary.failures]
    return "\n".join(lines)


def _code(text: str) -> str:
    """``text`` as a code span in a table: nothing in it is markup, and the two characters that could end it are
    written as escapes."""
    shown = visible(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{shown}`" if shown else ""


def write_report(
    installation: Installation, path: Path, *, collection: str | None = None, runs: int = 30
) -> Path:
    """One HTML file about the last ``runs`` runs and nights of one collection, or of all; returns ``path``.

    Needs nothing beside itself to be read. Raises ``SettingsError`` for an unknown collection, ``UsageError`` when
    the file cannot be written; an older report under that name is replaced only by a whole new one.
    """
    page = render(installation, collection=collection, runs=runs, at=audit_log.now())
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise UsageError(f"cannot write the report {path}: {error.strerror}. Name another file.") from None
    return path


def render(installation: Installation, *, collection: str | None, runs: int, at: datetime) -> str:
    """The page as a string; the same ledger and ``at`` give the same characters."""
    if collection is not None and not history.is_registered(installation.ledger, collection):
        installation.settings.collection(collection)  # a misspelt name is an error, a new one has no runs yet
    past = history.read_history(installation.ledger, collection, limit=runs, named=NAMED)
    standing = archive.status(installation, limit=0)
    zone = installation.settings.night.zone
    return (
        _templates(ZoneInfo(zone))
        .get_template("report.html")
        .render(
            scope=collection,
            configured=sorted(installation.settings.collections),
            at=at,
            zone=zone,
            software=f"Fwd2Bot {fwd2bot_core.__version__}",
            store=installation.settings.archive.store,
            ledger=installation.ledger.name,
            past=past,
            running=[run for run in past.latest if run.state == "running" and run != past.last],
            figures=_figures(past, ZoneInfo(zone)),
            timed=_timed(past),
            totals=_wanted(standing["collections"], collection),
            open_failures=_wanted(standing["failures"], collection),
            reading=_reading(installation, _wanted(standing["collections"], collection), past.last),
            stages=STAGES,
            signed=_signed(installation),
            losses=_losses(installation),
            anchors=anchoring.standing(installation),
            few_anchors=anchoring.warning(len(installation.settings.audit.anchors)),
        )
    )


def _losses(installation: Installation) -> list[Restore]:
    """Acknowledged or not: the page is read by others than those who know."""
    with installation.ledger.read() as connection:
        return restores(connection)


def _signed(installation: Installation) -> dict[str, Any] | None:
    """The newest checkpoint: every copy of the page is an anchor of its own."""
    with installation.ledger.read() as connection:
        last = checkpoints.newest(connection)
        if last is None:
            return None
        note = anchoring.cosigned_note(connection, last.size)
    return {"size": last.size, "at": last.signed_at, "note": note}


def _timed(past: History) -> list[PastRun]:
    """The newest runs that compressed anything, and said how long it took."""
    return [run for run in past.recent if run.worker_seconds][:TIMED]


def _figures(past: History, zone: ZoneInfo) -> dict[str, Any]:
    """Figures by name, as markup; those without data are missing."""
    if not past.nights:
        return {}
    from markupsafe import Markup

    from tasks import plots

    drawn = {
        "images": plots.images_per_night(past.nights),
        "bytes": plots.bytes_per_night(past.nights),
        "ratio": plots.ratio_per_night(past.nights),
    }
    if past.last and (scores := past.last.summary.get("fidelity")):
        drawn["fidelity"] = plots.fidelity(scores)
    if past.rejects:
        drawn["rejects"] = plots.rejects_by_reason(past.rejects)
    if timed := _timed(past):
        several = len({run.collection for run in timed}) > 1
        drawn["stages"] = plots.time_per_stage([(_label(run, zone, several), run) for run in timed])
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 - drawn by us, texts escaped there


def _label(run: PastRun, zone: ZoneInfo, several: bool) -> str:
    at = f"{run.started_at.astimezone(zone):%d %b %H:%M:%S}"
    return f"{run.collection}, {at}" if several else at


def _wanted(rows: list[dict[str, Any]], collection: str | None) -> list[dict[str, Any]]:
    return [row for row in rows if collection in (None, row["collection"])]


def _reading(
    installation: Installation, totals: list[dict[str, Any]], last: PastRun | None
) -> dict[str, Any] | None:
    """Where the manifests are, and how three engines read the one of the last run; None without any tokens."""
    if not totals:
        return None
    root = readable_root(installation.settings.archive.store).rstrip("/")
    places = [f"{root}/{pointer_of(row['collection'], row['fingerprint'])}" for row in totals]
    shown = (last.collection, last.fingerprint) if last else None
    which = next((n for n, row in enumerate(totals) if (row["collection"], row["fingerprint"]) == shown), 0)
    manifest, codec = places[which], totals[which]["codecs"][0]
    in_python = manifest.replace("\\", "\\\\").replace('"', '\\"')
    return {
        "manifests": places,
        "manifest": manifest,
        "DuckDB": DUCKDB.format(manifest=manifest.replace("'", "''"), codec=codec),
        "pyarrow": PYARROW.format(manifest=in_python, codec=codec),
        "Polars": POLARS.format(manifest=in_python, codec=codec),
        "local": manifest.startswith("/"),  # the Python ones open the manifest as a file
    }


def _templates(zone: ZoneInfo) -> Environment:
    filters: dict[str, Callable[..., str]] = {
        "at": lambda moment: f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        "day": lambda day: f"{day:%d %B %Y}".lstrip("0"),
    }
    return templates(filters, keep_trailing_newline=True)

"""A retention run for people: a page, a table for spreadsheets, Markdown, and a digest to be sent by mail.

Every one carries the newest checkpoint, so that each copy somewhere else holds the audit trail to what it was that day.
Knows the summary object only; keys and reasons are what strangers wrote, and are shown escaped.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from infra.installation import Installation
from tasks.page import page
from tasks.retention_summary import RetentionSummary
from tasks.retention_turn import Did
from tasks.units import cell, visible

FIELDS = ("what", "policy", "collection", "name", "objects", "bytes", "detail")


def rows(found: RetentionSummary) -> Iterator[tuple[str, str, str, str, int, int, str]]:
    """Everything of a run as lines of ``FIELDS``."""
    for name in found.expired:
        yield (
            ("expired" if found.acted else "would expire"),
            "",
            "",
            name,
            1,
            0,
            "too old to be approved or carried out",
        )
    for turn in found.turns:
        what = _done(turn.did, found.acted)
        if turn.problem or not turn.lists:
            yield what, turn.policy, "", "", 0, 0, turn.problem or "nothing"
        for one in turn.lists:
            yield what, turn.policy, one.collection, one.id, one.objects, one.bytes, one.problem or ""
            for reason, count in one.reasons.items():
                yield "kept", turn.policy, one.collection, one.id, count, 0, reason
        for reason, count in turn.reasons.items():
            yield "stays", turn.policy, "", "", count, 0, reason
    for looked in found.reconciled:
        yield "asked for", "", looked.collection, "", looked.held_against, 0, "at the store"
        for finding in looked.findings:
            yield str(finding.kind), "", looked.collection, finding.key, 1, 0, finding.detail
    for name, why in found.unreconciled.items():
        yield "not asked for", "", name, "", 0, 0, why


def as_csv(found: RetentionSummary) -> str:
    """RFC 4180, with a heading."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(("run", "acted", *FIELDS))
    for row in rows(found):
        writer.writerow((found.run_id, "yes" if found.acted else "no", *map(cell, row)))
    return sink.getvalue()


def as_html(found: RetentionSummary) -> str:
    """One page that needs nothing beside itself."""
    return page("retention.html", found=found, fields=FIELDS, rows=list(rows(found)), problems=found.problems)


def digest(found: RetentionSummary) -> str:
    """Text for a mail: what happened, what needs somebody, and the newest checkpoint, to be kept."""
    title = "Retention run" if found.acted else "Retention run, nothing done (dry run)"
    lines = [f"{title} {found.run_id}, {found.begun_at:%Y-%m-%d %H:%M} UTC", "", _first(found), ""]
    lines += [f"! {visible(problem)}" for problem in found.problems] or ["Nothing needs anybody."]
    lines += ["", *(f"{row[0]}: {_line(row)}" for row in rows(found) if row[0] not in ("stays", "asked for"))]
    if found.note is None:
        return "\n".join([*lines, "", "The audit trail has not been signed yet.", ""])
    held = "The audit trail's newest checkpoint. Keep this mail: it proves what the trail was today."
    return "\n".join([*lines, "", held, "", found.note])


def markdown(found: RetentionSummary) -> str:
    """For Prefect's artifact."""
    lines = [f"# {'Retention' if found.acted else 'Retention (dry run)'}", "", _first(found), ""]
    lines += [f"- **{_code(problem)}**" for problem in found.problems]
    lines += ["", f"| {' | '.join(FIELDS)} |", "|---" * len(FIELDS) + "|"]
    lines += [f"| {' | '.join(_code(str(cell)) for cell in row)} |" for row in rows(found)]
    return "\n".join([*lines, "", "```", found.note or "not signed yet", "```"])


def write_reports(house: Installation, found: RetentionSummary) -> list[str]:
    """Page, table and digest in the archive, under the run's name; their paths."""
    made = {"html": as_html(found), "csv": as_csv(found), "txt": digest(found)}
    paths = {f"retention/{found.run_id}.{kind}": text for kind, text in made.items()}
    for path, text in paths.items():
        house.archive.create(path, text.encode())
    return sorted(paths)


def _done(did: Did, acted: bool) -> str:
    if did in (Did.CARRIED_OUT, Did.LISTED):
        return ("" if acted else "would be ") + ("destroyed" if did is Did.CARRIED_OUT else "listed")
    return str(did)


def _first(found: RetentionSummary) -> str:
    return visible(found.message.split("; ", 1)[0]) + "."


def _line(row: tuple[object, ...]) -> str:
    _, policy, collection, name, objects, held, detail = row
    said = [str(part) for part in (policy, collection, name) if part]
    return visible(f"{' / '.join(said)}: {objects} ({held} bytes) {detail}".rstrip())


def _code(text: str) -> str:
    shown = visible(text).replace("`", r"\x60").replace("|", r"\x7c")
    return f"`{shown}`" if shown else ""

"""Events of the audit log as lines: for a screen, a spreadsheet, a program. Each comes as soon as it is found.

Decides nothing. Knows nothing about where events come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fwd2bot_core.audit.verifier.verify import COLUMNS, csv_line, table_row
from tasks.units import visible

if TYPE_CHECKING:
    from tasks.audit_query import Entry


def print_lines(found: Iterator[Entry], most: int | None) -> None:
    """A table whose lines come as they are found. Without a limit of its own it tells when there are more."""
    print(f"{'event':>9}  {'when (UTC)':19}  {'what':22}  {'who':20}  about")
    count = 0
    for entry in found:
        if most is not None and count == most:
            print(f"... the first {most}; --limit, --since and the other options show others")
            return
        print(_line(entry))
        count += 1
    if not count:
        print("nothing in the audit log is like that")


def _line(entry: Entry) -> str:
    event = entry.event
    who = f"{_named(entry, event['actor']['ref'])} ({event['actor']['role']})"
    when = event["occurred_at"][:19].replace("T", " ")
    return visible(f"{event['seq']:>9}  {when}  {event['type']:22}  {who:20}  {_about(entry)}")


def _about(entry: Entry) -> str:
    """Collection, run, reason and counts: what tells one event from another of its type."""
    event = entry.event
    said = [_named(entry, event["collection"])] if "collection" in event else []
    said += [event[name] for name in ("run_id", "reason_code", "reason_text") if name in event]
    for part in ("subject", "after"):
        plain = {
            k: v for k, v in (event.get(part) or {}).items() if isinstance(v, int | str) and len(str(v)) <= 40
        }
        said += [f"{name}={value}" for name, value in plain.items()]
    return ", ".join(dict.fromkeys(said))


def _named(entry: Entry, reference: str) -> str:
    return entry.names.get(reference, f"{reference[:12]}…" if len(reference) == 64 else reference)


def as_jsonl(found: Iterator[Entry]) -> Iterator[bytes]:
    for entry in found:
        yield entry.body + b"\n"


def as_csv(found: Iterator[Entry]) -> Iterator[bytes]:
    yield csv_line(COLUMNS.split())
    for entry in found:
        yield table_row(dict(entry.event), dict(entry.names))


def as_json(found: Iterator[Entry]) -> Iterator[bytes]:
    """One array of the events, each with the names that are known of its references."""
    before = b"["
    for entry in found:
        text = entry.body.decode()
        names = {ref: name for ref, name in entry.names.items() if ref in text}
        yield before + json.dumps({**entry.event, "names": names}, sort_keys=True).encode()
        before = b",\n"
    yield (b"[" if before == b"[" else b"") + b"]\n"

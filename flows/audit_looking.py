"""The audit verbs that look at the log, prove one event, export evidence.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, terminal
from flows.audit_app import audit_app
from flows.times import DAY, NOTHING, moment
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tasks.audit_query import Filter
    from tasks.evidence import Exported

SCREEN = 100  # events that a table shows unless asked for more
_COLOURS = {"VALID": "green", "NOT YET ANCHORED": "yellow"}


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """The events that are meant; all that is given must hold."""

    image: Annotated[str | None, Parameter(help="A key, or 12 or more digits of the file's sha256.")] = None
    collection: Annotated[str | None, Parameter(help="Its name, or the reference that stands for it.")] = None
    run: Annotated[str | None, Parameter(help="A run's id, as `fwd2bot status` shows it.")] = None
    actor: Annotated[str | None, Parameter(help="Who did it or had it done: a name or reference.")] = None
    type: Annotated[
        tuple[str, ...], Parameter(help="Such as batch.committed, or batch for the family.", negative="")
    ] = ()
    since: Annotated[str | None, Parameter(help="A day or time, UTC unless it names a zone.")] = None
    until: Annotated[str | None, Parameter(help="A day, which is included, or a time, which is not.")] = None
    first: Annotated[int | None, Parameter(help="Number of an event.", validator=Number(gte=0))] = None
    last: Annotated[int | None, Parameter(help="Number of an event.", validator=Number(gte=0))] = None

    def filter(self) -> Filter:
        """Raises ``UsageError`` for what is no time."""
        from tasks.audit_query import Filter

        return Filter(
            image=self.image,
            collection=self.collection,
            run=self.run,
            actor=self.actor,
            types=self.type,
            since=moment("--since", self.since, NOTHING),
            until=moment("--until", self.until, DAY),
            first=self.first,
            last=self.last,
        )


ALL = Which()


@audit_app.command
def log(
    *,
    which: Which = ALL,
    oldest_first: Annotated[bool, Parameter(help="In the order of the log.", negative="")] = False,
    limit: Annotated[
        int | None,
        Parameter(help=f"How many at most [default: {SCREEN} in a table].", validator=Number(gte=0)),
    ] = None,
    csv: Annotated[bool, Parameter(help="For spreadsheets.", negative="")] = False,
    jsonl: Annotated[
        bool, Parameter(help="The exact bytes that were hashed, one event a line.", negative="")
    ] = False,
    common: Common = DEFAULTS,
) -> int:
    """The audit log, newest first: who did what, when, to what. Names stand where they were not erased.

    Example: fwd2bot audit log --collection line-1 --type batch --since 2026-11-01 --csv > november.csv
    """
    from flows.audit_lines import as_csv, as_json, as_jsonl, print_lines
    from infra.installation import opened
    from tasks.audit_query import events

    if csv + jsonl + common.json > 1:
        raise UsageError("--csv, --jsonl and --json exclude each other: choose one")
    screen = not (csv or jsonl or common.json)
    most = SCREEN + 1 if screen and limit is None else limit
    wanted = replace(which.filter(), newest_first=not oldest_first, limit=most)
    with opened(common.settings()) as house:
        found = events(house, wanted)
        if screen:
            print_lines(found, SCREEN if limit is None else None)
        else:
            _write(as_csv(found) if csv else as_jsonl(found) if jsonl else as_json(found))
    return ExitCode.OK


@audit_app.command
def prove(
    event: str,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="Where to write it, as NAME.tlog-proof.")
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """The proof that one event is in the log, as a text that other programs check too (C2SP tlog-proof).

    With -o the event itself is written beside it, as NAME.json: the proof is over exactly these bytes.

    Example: fwd2bot audit prove 17 -o event-17.tlog-proof

    Parameters
    ----------
    event: its number or its id.
    """
    from infra.installation import opened
    from tasks.evidence import prove as proof_of

    with opened(common.settings()) as house:
        proof = proof_of(house, event)
    if output is not None:
        _save(output, proof.text.encode())
        _save(output.with_suffix(".json"), proof.body)
    if common.json:
        said = {"event": proof.seq, "event_id": proof.event_id, "checkpoint": proof.size}
        print(json.dumps(said | {"body": proof.body.decode(), "proof": proof.text}, sort_keys=True))
    elif output is None:
        _write(iter([proof.text.encode()]))
    else:
        print(
            f"event {proof.seq} is in the checkpoint of {proof.size} events: {output}, {output.with_suffix('.json')}"
        )
    return ExitCode.OK


@audit_app.command
def export(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="A new file.")],
    which: Which = ALL,
    with_names: Annotated[
        bool, Parameter(help="Tell the names of persons, collections and the image.", negative="")
    ] = False,
    without_segments: Annotated[
        bool, Parameter(help="Leave out the facts about single images.", negative="")
    ] = False,
    common: Common = DEFAULTS,
) -> int:
    """Write events with all that proves them into one ZIP, which a stranger checks without this program.

    Exit code 5 if the bundle's own verifier finds anything worse than events that are still to be anchored. A restore
    from a backup is in every bundle, and its verifier says so; one of audit.acknowledged makes no exit code here.

    Example: fwd2bot audit export -o evidence.zip --image line-1/2026-11-23/tray-000007.jpg --with-names
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks.evidence import export as write_evidence

    console = terminal()
    with opened(common.settings()) as house, counting(console, "exporting", common.json) as progress:
        made = write_evidence(
            house,
            which.filter(),
            output,
            with_names=with_names,
            with_segments=not without_segments,
            progress=progress,
        )
    if common.json:
        print(json.dumps(_exported(made), sort_keys=True))
    else:
        _show_export(made)
    return ExitCode.OK if made.acceptable else ExitCode.INTEGRITY


def _write(chunks: Iterator[bytes]) -> None:
    """Bytes as they are, whatever the terminal's encoding."""
    sys.stdout.flush()
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _save(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Name another file.") from None


def _exported(made: Exported) -> dict[str, Any]:
    return {
        "path": str(made.path.resolve()),
        "sha256": made.sha256,
        "events": made.events,
        "covered": made.covered,
        "verdict": made.verdict,
        "findings": [finding._asdict() for finding in made.findings],
    }


def _show_export(made: Exported) -> None:
    from tasks.units import visible

    console = terminal()
    console.print(
        f"[bold {_COLOURS.get(made.verdict, 'red')}]{made.verdict}[/]  {made.events:,} events",
        highlight=False,
    )
    lines = [f"{each.part}: {visible(each.detail)}" for each in made.findings if each.verdict != "VALID"]
    if made.covered < made.events:
        lines.append("Not all are signed for yet: run `fwd2bot audit checkpoint`, then export again.")
    lines += [
        f"file     {made.path.resolve()}",
        f"sha256   {made.sha256}",
        "Who checks it runs `python3 verify.py FILE --key KEY`, with the verify.py in the ZIP or in Fwd2Bot's source,",
        "and gets the key from you on another way: `fwd2bot audit keys` shows it.",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

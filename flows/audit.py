"""The audit verbs that verify the log, and that record its restore from a backup.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.app import DEFAULTS, Common, terminal
from flows.audit_app import audit_app
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from fwd2bot_core.audit.verdicts import Finding
    from infra.audit_restores import Restore
    from infra.installation import Installation
    from tasks.audit_verify import LogVerdict

_COLOURS = {
    "VALID": "green",
    "NOT YET ANCHORED": "yellow",
    "RESTORED FROM BACKUP, ACKNOWLEDGED": "yellow",
}


@audit_app.command
def verify(
    *,
    since_last: Annotated[
        bool, Parameter(help="Only what came after the newest anchored checkpoint.", negative="")
    ] = False,
    acknowledged: Annotated[
        tuple[str, ...],
        Parameter(
            help="A recorded restore that you know of, as this verb names it: no news any more.", negative=""
        ),
    ] = (),
    common: Common = DEFAULTS,
) -> int:
    """Read every event again and hold it against its hashes, all signed checkpoints, and what the anchors really hold.

    Exit code 5 unless the log is VALID, or has nothing worse than events that are still to be anchored and losses that
    are acknowledged, here or as audit.acknowledged. Such a loss is still shown. Writes nothing.

    Example: fwd2bot audit verify
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks.audit_verify import last_checkpoint, verify_log

    console = terminal()
    with opened(common.settings()) as house:
        since = last_checkpoint(house) if since_last else 0
        with counting(console, "verifying", common.json) as progress:
            found = verify_log(house, since=since, acknowledged=acknowledged, progress=progress)
        if common.json:
            print(json.dumps(_as_json(found), sort_keys=True))
        else:
            _show(console, house, found)
    return ExitCode.OK if found.acceptable else ExitCode.INTEGRITY


@audit_app.command
def restored(
    *,
    reason: Annotated[str, Parameter(help="What happened; the log keeps it for ever.")],
    common: Common = DEFAULTS,
) -> int:
    """Record in the log that the ledger was restored from a backup, and which events were lost.

    Until then no night runs. Verifies everything first and refuses if more is wrong than that. Anchors tell what was
    lost; where none does, what the archive has seen, which is weaker evidence, and the log says so.

    Example: fwd2bot audit restored --reason "disk of the database server died, backup of 3 May"
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks.audit_restored import record_restore

    console = terminal()
    with opened(common.settings()) as house, counting(console, "verifying", common.json) as progress:
        made = record_restore(house, reason, progress=progress)
    if common.json:
        print(json.dumps(_restore_as_json(made), sort_keys=True))
        return ExitCode.OK
    for line in _told(made):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return ExitCode.OK


def _restore_as_json(made: Restore) -> dict[str, Any]:
    evidence = "signed" if made.signed else "archive"
    named = {name: getattr(made, name) for name in ("first", "last", "reason", "known_as")}
    return {"event": made.seq, "evidence": evidence, **named}


def _told(made: Restore) -> Iterator[str]:
    yield f"event {made.seq:,} records that the events {made.first:,} to {made.last:,} of before were lost"
    if made.signed:
        yield (
            "Every anchor keeps what it has, and takes nothing more: name new ones at empty places in the settings "
            "([audit.anchors.NAME]), then run `fwd2bot audit checkpoint`."
        )
    else:
        yield (
            "Only the archive told of them, which is weaker than an anchor: nobody signed it, whoever runs nights can "
            "write it, and there may have been more. The log says so. Name anchors in the settings: "
            "[audit.anchors.NAME]."
        )
    yield (
        "Shards that were committed in the lost events are orphans now, and nights sweep orphans. Where originals may "
        "be gone, set night.orphan_hours high before the next one, or restore a newer backup if there is one."
    )
    yield (
        f"`fwd2bot audit verify` ends with exit code 5 until whoever it alarms acknowledges the loss: add "
        f"{made.known_as!r} to audit.acknowledged. It stays in every report."
    )


def _as_json(found: LogVerdict) -> dict[str, Any]:
    return asdict(found) | {"verdict": found.verdict, "acceptable": found.acceptable}


def _show(console: Console, house: Installation, found: LogVerdict) -> None:
    from flows.render import table
    from infra.anchoring import warning

    colour = _COLOURS.get(found.verdict, "red")
    console.print(f"[bold {colour}]{found.verdict}[/]  {_summary(found)}", highlight=False, soft_wrap=True)
    if found.findings:
        rows = [(one.verdict, _events(one), one.where, one.detail) for one in found.findings]
        console.print(table("findings", ("class", "events", "where", "what"), rows))
    for name in found.unacknowledged:
        known = f"A recorded loss is news until it is acknowledged: --acknowledged {name}, or in audit.acknowledged"
        console.print(known, markup=False, highlight=False, soft_wrap=True)
    if said := warning(len(house.settings.audit.anchors)):
        console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _summary(found: LogVerdict) -> str:
    begun = ""
    if found.since:
        begun = (
            f" from {found.since:,} on (those before were read when the checkpoint over them was signed, and not "
            "again)"
        )
    return (
        f"{found.events:,} events{begun} in {found.seconds:.1f} s, held against {found.checkpoints:,} signed states; "
        f"somebody outside vouches for the first {found.anchored_to:,}"
    )


def _events(one: Finding) -> str:
    if one.seq is None:
        return "-"
    if one.until is None:
        return f"{one.seq:,}"
    return f"{'in ' if one.somewhere else ''}{one.seq:,} to {one.until:,}"

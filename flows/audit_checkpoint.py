"""The audit verb that signs the log now.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flows.app import DEFAULTS, Common, terminal
from flows.audit_app import audit_app
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from infra.checkpoints import Signed


@audit_app.command
def checkpoint(*, common: Common = DEFAULTS) -> int:
    """Sign what the audit log holds, and hand the checkpoint to every anchor that lacks it.

    Each run does so at its end. The new events are read again before; a log that does not extend everything that was
    signed earlier, here or at an anchor, is refused (exit code 5). Exit code 3: signed, but an anchor failed.

    Example: fwd2bot audit checkpoint
    """
    from infra.anchoring import warning
    from infra.checkpoints import sign_checkpoint
    from infra.installation import opened

    with opened(common.settings()) as house:
        signed = sign_checkpoint(house, reason="asked")
        few = warning(len(house.settings.audit.anchors))
    if common.json:
        print(json.dumps({**signed.as_dict(), "warning": few}, sort_keys=True))
    else:
        _show(terminal(), signed, few)
    return ExitCode.PARTLY_FAILED if signed.failed else ExitCode.OK


def _show(console: Console, signed: Signed, few: str | None) -> None:
    from flows.render import table
    from tasks.units import visible

    at = f"{signed.signed_at:%Y-%m-%d %H:%M:%S} UTC"
    console.print(f"[green]signed[/]  {signed.size:,} events, at {at}", highlight=False)
    console.print(visible_lines(signed.note), markup=False, highlight=False, soft_wrap=True)
    rows = [
        (name, "anchored", _until(receipt.retain_until), receipt.place)
        for name, receipt in signed.anchored.items()
    ]
    rows += [(name, "NOT YET ANCHORED", "-", visible(why)) for name, why in signed.failed.items()]
    if rows:
        console.print(table("anchors", ("anchor", "state", "locked until", "where, or why not"), rows))
    if few:
        console.print(few, style="yellow", markup=False, highlight=False, soft_wrap=True)


def visible_lines(note: str) -> str:
    """A note as a terminal may show it, line by line."""
    from tasks.units import visible

    return "\n".join(f"  {visible(line)}".rstrip() for line in note.splitlines())


def _until(moment: object) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d}"

"""What the archive itself knows of the log: how far it had come, and segments that no event names.

Weaker than an anchor: nobody signed it, and whoever runs nights can write it. So it can raise a suspicion and be
written down as one, and excuses nothing that is signed. Knows nothing about how a loss is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fwd2bot_core.audit.verdicts import Finding, Verdict
from fwd2bot_core.errors import Fwd2BotError
from infra import pairing
from infra.audit_restores import Restore
from infra.installation import Installation
from infra.pairing import Head
from infra.tables import audit_segments

_SEGMENTS = "audit/segments/"


@dataclass(frozen=True, slots=True)
class Asked:
    """The archive's answer. ``head`` None: it was never told of a ledger, or could not be read."""

    head: Head | None
    findings: tuple[Finding, ...] = ()


def ask_archive(house: Installation) -> Asked:
    """Before the ledger's snapshot is taken: what the archive has seen must be in it then."""
    try:
        return Asked(pairing.seen(house.archive))
    except Fwd2BotError as error:
        return Asked(None, (Finding(Verdict.UNREADABLE, None, None, f"{error}", pairing.PATH),))


def held_against(
    connection: sa.Connection, asked: Asked, rows: int, restores: Sequence[Restore]
) -> tuple[Head | None, list[Finding]]:
    """The head, if the log is shorter than the archive saw it; and what else is wrong. Another ledger's head, and one
    that a recorded restore explains, say nothing."""
    head, findings = asked.head, list(asked.findings)
    if head is None or not head.events or not pairing.is_of(connection, head) or explained(head, restores):
        return None, findings
    if head.events > rows:
        return head, findings
    if pairing.leaf_of(connection, head.events - 1) != head.leaf:
        detail = (
            "the archive saw another event under this number: the log was changed, or put back and went on"
        )
        findings.append(Finding(Verdict.MODIFIED, head.events - 1, None, detail, pairing.PATH))
    return None, findings


def explained(head: Head, restores: Sequence[Restore]) -> Restore | None:
    """The restore that says it knows of just this head."""
    return next((one for one in restores if one.seen == (head.events, head.leaf)), None)


def unnamed_segments(house: Installation) -> list[str]:
    """Paths of segments in the archive that no event of the log names: of the lost events, or of killed batches."""
    with house.ledger.read() as connection:
        named = set(connection.execute(sa.select(audit_segments.c.path)).scalars())
    return [one.key for one in house.archive.list(_SEGMENTS) if one.key not in named]

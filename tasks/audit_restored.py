"""Recording that the ledger was restored from a backup: which events were lost, as far as anybody outside knew of them.

Only a ledger that is an older state of itself, and nothing else, can be recorded so; then the log goes on from there.
The key that the settings name may be one that the lost events gave to the log: it signed states that are lost, too.
What was committed in the lost events is not in the ledger any more, whatever lies in the archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import sqlalchemy as sa

from fwd2bot_core.audit.notes import Verifier
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import Fwd2BotError, IntegrityError, LedgerLocked, ObjectMissing, UsageError
from infra import audit_keys, audit_log, pairing
from infra.audit_restores import Restore, record
from infra.installation import Installation
from infra.signing_keys import open_source
from infra.tables import installation
from tasks.audit_verify import Examined, examine

_IN_THE_WAY = {
    Verdict.MODIFIED,
    Verdict.TRUNCATED,
    Verdict.FORKED,
    Verdict.UNREADABLE,  # an anchor that does not answer may know of more losses
    Verdict.UNKNOWN_KEY,
}


def record_restore(
    house: Installation,
    reason: str,
    *,
    role: str = "operator",
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Restore:
    """Verify the whole log, append ``log.restored`` with the loss report, tell the archive that its ledger is older.

    Raises ``UsageError`` when nothing is absent or no reason is given, ``IntegrityError`` when more than that is wrong.
    """
    if not reason.strip():
        raise UsageError("say why the ledger was restored: the log keeps the reason for ever")
    found = examine(house, later_keys=_key_of_the_settings(house), progress=progress)
    _refuse_what_is_worse(found)
    beyond = found.judge.beyond
    if not beyond:
        raise UsageError("nothing that was signed is absent from the log, so there is no loss to record")
    first = found.judge.told.rows
    lost = {(one.size, one.root) for one in beyond if one.root is not None}
    with house.ledger.write() as connection:
        if audit_log.hold(connection) != first:
            raise LedgerLocked(
                "the audit log grew while it was verified; stop what writes to it, and try again"
            )
        actor = audit_log.actor(connection, role)
        last = max(one.size for one in beyond) - 1
        made = record(connection, first=first, last=last, lost=lost, reason=reason.strip(), actor=actor)
    _pair_again(house)
    return made


def _key_of_the_settings(house: Installation) -> list[Verifier]:
    """If the log was given this key in events that are lost, it signed states that the ledger cannot know a key of."""
    audit = house.settings.audit
    try:
        with house.ledger.read() as connection:
            return [open_source(audit.key, audit_keys.origin(connection, audit)).verifier]
    except Fwd2BotError:  # then it signs nothing now, and what it once signed stays of an unknown key
        return []


def _refuse_what_is_worse(found: Examined) -> None:
    worse = [one for one in found.verdict.findings if one.verdict in _IN_THE_WAY]
    if worse:
        raise IntegrityError(
            f"this is more than a restored backup: {worse[0].verdict} ({worse[0].where}: {worse[0].detail}). Nothing "
            "was recorded; `fwd2bot audit verify` names everything"
        )


def _pair_again(house: Installation) -> None:
    """The archive remembers a later head of its ledger, and would refuse it for ever. Another ledger's head stays."""
    try:
        said = json.loads(house.archive.read(pairing.PATH))
    except (ObjectMissing, ValueError):
        return
    with house.ledger.write() as connection:
        mine = connection.execute(sa.select(installation.c.uuid)).scalar_one_or_none()
        if mine is not None and isinstance(said, dict) and said.get("installation") == mine:
            pairing.record(connection, house.archive)

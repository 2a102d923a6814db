"""Recording that the ledger was restored from a backup: which events were lost, as far as anybody outside knew of them.

Only a ledger that is an older state of itself, and nothing else, can be recorded so; then the log goes on from there.
What tells of the loss is what was signed and is kept outside; where there is no such thing, what the archive has seen,
which is weaker, and the event says which it was.
The key that the settings name may be one that the lost events gave to the log: it signed states that are lost, too.
What was committed in the lost events is not in the ledger any more, whatever lies in the archive.
"""

from __future__ import annotations

from collections.abc import Callable

from fwd2bot_core.audit.notes import Verifier
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import Fwd2BotError, IntegrityError, LedgerLocked, UsageError
from infra import audit_keys, audit_log, pairing
from infra.audit_restores import Restore, record, restores
from infra.installation import Installation
from infra.signing_keys import open_source
from tasks.audit_judging import Judge
from tasks.audit_seen import explained, unnamed_segments
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

    One that was recorded, but of which the archive was not told any more, is returned again. Raises ``UsageError`` when
    nothing is absent or no reason is given, ``IntegrityError`` when more than that is wrong.
    """
    if not reason.strip():
        raise UsageError("say why the ledger was restored: the log keeps the reason for ever")
    found = examine(house, later_keys=_key_of_the_settings(house), progress=progress)
    _refuse_what_is_worse(found)
    judge = found.judge
    if judge.beyond or judge.seen is not None:
        made = _recorded(house, judge, reason.strip(), role)
    elif (done := _untold(house)) is not None:
        made = done
    else:
        raise UsageError(
            "nothing that was signed or that the archive has seen is absent from the log: there is no loss to record"
        )
    _pair_again(house)
    return made


def _recorded(house: Installation, judge: Judge, reason: str, role: str) -> Restore:
    signed, seen, first = bool(judge.beyond), judge.seen, judge.told.rows
    last = max(one.size for one in judge.beyond) if signed else seen.events if seen else first
    segments = [] if signed else unnamed_segments(house)
    with house.ledger.write() as connection:
        if audit_log.hold(connection) != first:
            raise LedgerLocked(
                "the audit log grew while it was verified; stop what writes to it, and try again"
            )
        return record(
            connection,
            first=first,
            last=last - 1,
            lost={(one.size, one.root) for one in judge.beyond if one.root is not None},
            reason=reason,
            actor=audit_log.actor(connection, role),
            seen=seen,
            segments=segments,
            signed=signed,
        )


def _untold(house: Installation) -> Restore | None:
    """The restore that was recorded by a process which died before the archive knew."""
    head = pairing.seen(house.archive)
    with house.ledger.read() as connection:
        return None if head is None else explained(head, restores(connection))


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
    head = pairing.seen(house.archive)
    with house.ledger.write() as connection:
        if head is not None and pairing.is_of(connection, head):
            pairing.record(connection, house.archive)

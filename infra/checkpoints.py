"""Signing the audit log, and having it kept outside.

In this order, so that a crash at any point is finished by the next call: the anchors are asked what they hold; in one
snapshot the log is computed again and held against all of it; the checkpoint is signed and stored; the anchors get
it, and what they answer is written down. A log that does not extend everything that was signed before is never
signed. Knows nothing about runs, schedules, or how a finding is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.events import Event
from fwd2bot_core.audit.notes import Signer
from fwd2bot_core.errors import IntegrityError, LedgerLocked
from infra import anchoring, audit_keys, audit_log, pairing
from infra.anchors import Receipt
from infra.audit_recount import Known, recount
from infra.audit_tree import root_at
from infra.installation import Installation
from infra.tables import audit_checkpoints, audit_events

SILENCE = timedelta(
    hours=23
)  # a daily signature also proves that nothing happened; a cron is never quite on time
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Signed:
    """The log's newest checkpoint, and who has it."""

    size: int  # events that it covers
    root: bytes
    note: str
    signed_at: datetime
    anchored: dict[str, Receipt]  # by the anchor's name
    failed: dict[str, str]  # by the anchor's name: why it does not have it

    def as_dict(self) -> dict[str, object]:
        """For machines; times in RFC 3339."""
        return {
            "size": self.size,
            "root": self.root.hex(),
            "note": self.note,
            "signed_at": self.signed_at.isoformat(),
            "anchored": {
                name: {
                    "place": receipt.place,
                    "evidence": receipt.evidence,
                    "retain_until": receipt.retain_until.isoformat() if receipt.retain_until else None,
                }
                for name, receipt in self.anchored.items()
            },
            "failed": self.failed,
        }


class _Overtaken(Exception):
    """Another process signed meanwhile; what was looked at is not the newest any more."""


def sign_checkpoint(house: Installation, *, reason: str, role: str = "operator") -> Signed:
    """Sign all that the log holds, unless that was done already, and hand it to the anchors that lack it.

    When nothing happened for almost a day, an event says so first; ``reason`` is its reason code, ``role`` that of
    this process. A failing anchor is named in the answer. Raises ``IntegrityError`` without signing if the log, an
    anchor and earlier checkpoints contradict each other, ``UnknownKey`` or ``SettingsError`` for a wrong key.
    """
    for _ in range(_TRIES):
        try:
            return _sign(house, reason, role)
        except _Overtaken:
            continue
    raise LedgerLocked(
        f"other processes signed the audit log {_TRIES} times meanwhile; it is signed, by them"
    )


def newest(connection: sa.Connection) -> sa.Row[tuple[int, bytes, str, datetime]] | None:
    """The newest stored checkpoint: size, root, note, signed_at."""
    last = sa.select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc()).limit(1)
    return connection.execute(last).one_or_none()


def _sign(house: Installation, reason: str, role: str) -> Signed:
    origin, last = _begin(house)
    signer = audit_keys.open_signer(house.settings.audit, origin)
    outside = anchoring.look(house, origin, signer.verifier, last.note if last else None)
    _complete(house, signer, last, outside.known, reason, role)
    checkpoint = _checked(house, origin, last, outside.known)
    note, signed_at = _stored(house, checkpoint, signer, last)
    try:
        receipts, failed = anchoring.publish(house, checkpoint, note, outside)
    except IntegrityError:
        with house.ledger.read() as connection:
            now = newest(connection)
        if (
            now is not None and now.size > checkpoint.size
        ):  # by another process, whose newer one is there already
            raise _Overtaken from None
        raise
    return Signed(checkpoint.size, checkpoint.root, note, signed_at, receipts, failed)


def _begin(house: Installation) -> tuple[str, sa.Row[tuple[int, bytes, str, datetime]] | None]:
    """The log's name and its newest checkpoint; a ledger that is not this archive's newest is refused."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        pairing.check(connection, house.archive)
        return audit_keys.origin(connection, house.settings.audit), newest(connection)


def _complete(
    house: Installation,
    signer: Signer,
    last: sa.Row[tuple[int, bytes, str, datetime]] | None,
    known: list[Known],
    reason: str,
    role: str,
) -> None:
    """Add what the log should hold before it is signed: its first key, or that nothing happened."""
    with house.ledger.write() as connection:
        size = audit_log.hold(connection)
        if any(one.size > size for one in known):
            return  # put back to an older state: not one event more
        actor = audit_log.actor(connection, role)
        audit_keys.register(connection, signer, actor)
        now = audit_log.now()
        if last is not None and now - _newest_event(connection, size) >= SILENCE:
            since = {"seq": size - 1, "signed_at": last.signed_at.isoformat()}
            event = Event(
                type="audit.silent", occurred_at=now, actor=actor, subject=since, reason_code=reason
            )
            audit_log.append(connection, event)


def _newest_event(connection: sa.Connection, size: int) -> datetime:
    """When it happened. Not when it was signed: whoever asks how long the log was silent sees events, and after a crash
    some wait to be signed."""
    mine = sa.select(audit_events.c.occurred_at).where(audit_events.c.seq == size - 1)
    happened: datetime = connection.execute(mine).scalar_one()
    return happened


def _checked(
    house: Installation,
    origin: str,
    last: sa.Row[tuple[int, bytes, str, datetime]] | None,
    known: list[Known],
) -> Checkpoint:
    """The checkpoint of the log as it is now, once it was computed again and contradicts nobody."""
    with house.ledger.read() as connection:
        base = None
        if last is not None:
            base = Known(last.size, last.root, "the ledger itself")
            said = checkpoints.read(last.note, audit_keys.verifiers(connection, size=last.size))
            if (said.origin, said.size, said.root) != (origin, last.size, last.root):
                raise IntegrityError(
                    f"the ledger's checkpoint of {last.size:,} events is not what its note says ({said.size:,} "
                    f"events of {said.origin!r}). Nothing was signed; run `fwd2bot audit verify`"
                )
        frontier = recount(connection, base, known)
    return Checkpoint(origin, frontier.size, frontier.root())


def _stored(
    house: Installation,
    checkpoint: Checkpoint,
    signer: Signer,
    last: sa.Row[tuple[int, bytes, str, datetime]] | None,
) -> tuple[str, datetime]:
    """The note in the ledger, and when it was signed; one of the same size stays the one that it is."""
    if last is not None and last.size == checkpoint.size:
        return last.note, last.signed_at
    note, signed_at = checkpoints.sign(checkpoint, [signer]), audit_log.now()
    with house.ledger.write() as connection:
        size = audit_log.hold(connection)
        now = newest(connection)
        if (now and now.size) != (last and last.size):
            raise _Overtaken
        if size < checkpoint.size or root_at(connection, checkpoint.size) != checkpoint.root:
            raise IntegrityError(
                f"the audit log was changed while its {checkpoint.size:,} events were signed. The checkpoint was "
                "thrown away; run `fwd2bot audit verify`"
            )
        connection.execute(
            audit_checkpoints.insert().values(
                size=checkpoint.size, root=checkpoint.root, note=note, signed_at=signed_at
            )
        )
    return note, signed_at

"""The keys of this installation's audit log: the one that signs now, and all that ever did, as the ledger knows them.

A key begins and ends with an event of the log (``fwd2bot_core.audit.key_history``), in the same transaction as its row.
Knows nothing about checkpoints. The ledger's list is a convenience: whoever trusts nobody takes the keys from the
log's own events and compares the first one with what was published.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit import key_history
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.key_history import Span
from fwd2bot_core.audit.notes import Ed25519Signer, Signer, Verifier, check_name
from fwd2bot_core.errors import IntegrityError, NoteInvalid, SettingsError, UnknownKey, UsageError
from infra import audit_log
from infra.audit_settings import AuditSettings
from infra.signing_keys import COMMAND, ENVIRONMENT, described, open_source, read_key, sync_folder, write_key
from infra.tables import audit_events, audit_keys, installation


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the ledger's list."""

    id: str  # 8 hex digits
    vkey: str
    since: int
    until: int | None

    @property
    def span(self) -> Span:
        return Span(Verifier.parse(self.vkey), self.since, self.until)


def origin(connection: sa.Connection, audit: AuditSettings) -> str:
    """The log's name in checkpoints and keys: ``audit.origin``, or one made from the installation."""
    if audit.origin is not None:
        return _checked_name(audit.origin)
    found = connection.execute(sa.select(installation.c.uuid)).scalar_one_or_none()
    if found is None:
        raise UsageError("the audit log has no name yet: run a night first, or set audit.origin")
    return f"fwd2bot/{found}"


def _checked_name(name: str) -> str:
    try:
        check_name(name)
    except NoteInvalid as error:
        raise SettingsError(f"audit.origin: {error}; write such as plant.example/audit") from None
    return name


def open_signer(audit: AuditSettings, origin: str) -> Signer:
    """What ``audit.key`` names; a file is made on first use. Raises ``SettingsError``.

    ``register`` it, in the transaction that uses it, before anything is signed.
    """
    return open_source(audit.key, origin, create=True)


def keys(connection: sa.Connection) -> list[Key]:
    """All keys, oldest first."""
    rows = connection.execute(sa.select(audit_keys).order_by(audit_keys.c.since)).all()
    return [Key(row.id, row.vkey, row.since, row.until) for row in rows]


def told(connection: sa.Connection) -> list[Span]:
    """The same as the log's own events say it, each statement's signatures verified.

    Reads the events that the list names; that no other event is about keys, ``audit verify`` makes sure. Raises
    ``IntegrityError`` where the two differ.
    """
    listed = keys(connection)
    rows = connection.execute(
        sa.select(audit_events.c.seq, audit_events.c.body)
        .where(audit_events.c.seq.in_([key.since for key in listed]))
        .order_by(audit_events.c.seq)
    ).all()
    spans = key_history.history((row.seq, *_type_and_after(row.body)) for row in rows)
    if [(s.verifier.vkey(), s.since, s.until) for s in spans] != [(k.vkey, k.since, k.until) for k in listed]:
        raise IntegrityError(
            "the ledger's list of audit keys is not what the log's events say: one of them was changed. "
            "Run `fwd2bot audit verify`"
        )
    return spans


def _type_and_after(body: bytes) -> tuple[str, dict[str, Any]]:
    said = parse(body)
    after = said.get("after")
    return str(said.get("type")), after if isinstance(after, dict) else {}


def verifiers(connection: sa.Connection, *, size: int | None = None) -> list[Verifier]:
    """The keys of the log, or those that may sign a checkpoint over ``size`` events."""
    spans = [key.span for key in keys(connection)]
    return [span.verifier for span in spans if size is None or span.covers(size)]


def register(connection: sa.Connection, signer: Signer, actor: Actor) -> None:
    """Make sure that ``signer`` is the log's key; the first one is added to the log. In a write transaction.

    Raises ``UnknownKey`` for a retired key, and for another than the log's.
    """
    current = _current(connection)
    if current is None:
        seq = audit_log.hold(connection)  # whoever was quicker has committed now
        current = _current(connection)
        if current is None:
            _begin(connection, seq, signer, None, None, actor, None)
            return
    if current.vkey != signer.verifier.vkey():
        raise UnknownKey(_refusal(connection, current, signer))


def rotate(
    connection: sa.Connection, old: Signer | None, new: Signer, actor: Actor, reason: str | None = None
) -> Key:
    """Make ``new`` the log's key, as an event that both sign; without ``old``, which is lost, ``new`` alone.

    Returns the retired key. Raises ``UnknownKey`` if ``old`` is not the log's key, ``UsageError`` if none is yet or
    ``new`` once was.
    """
    seq = audit_log.hold(connection)
    current = _current(connection)
    if current is None:
        raise UsageError("the audit log has no key yet; it gets one when its first checkpoint is signed")
    if old is not None and current.vkey != old.verifier.vkey():
        raise UnknownKey(_refusal(connection, current, old))
    if new.verifier.vkey() in {key.vkey for key in keys(connection)}:
        raise UsageError(f"the key {new.verifier.key_id.hex()} was the log's already; rotate to a new one")
    connection.execute(audit_keys.update().where(audit_keys.c.id == current.id).values(until=seq))
    _begin(connection, seq, new, current.span.verifier, old, actor, reason)
    return current


def successor(audit: AuditSettings, origin: str, to: str | None) -> tuple[Signer, Callable[[], None]]:
    """The key to rotate to, and what is to be done once that is committed.

    Without ``to`` a new key file waits beside the old one until then, and takes its place, so that a crash in between
    loses neither.
    """
    if to is not None:
        return open_source(to, origin, create=True), lambda: None
    if audit.key.startswith((ENVIRONMENT, COMMAND)):
        raise UsageError(f"the key is in {described(audit.key)}; say with --to where the next one is")
    file = Path(audit.key)
    waiting = file.with_name(f"{file.name}.next")
    with suppress(FileExistsError):  # of a rotation that was interrupted
        write_key(waiting, Ed25519Signer.generate(origin))
    return read_key(waiting), lambda: _take_place(waiting, file)


def _take_place(waiting: Path, file: Path) -> None:
    waiting.replace(file)
    sync_folder(file.parent)


def is_current(connection: sa.Connection, signer: Signer) -> bool:
    """Whether ``signer`` is the log's key."""
    current = _current(connection)
    return current is not None and current.vkey == signer.verifier.vkey()


def _begin(
    connection: sa.Connection,
    seq: int,
    new: Signer,
    old: Verifier | None,
    old_signer: Signer | None,
    actor: Actor,
    reason: str | None,
) -> None:
    kind = key_history.ADDED if old is None else key_history.ROTATED if old_signer else key_history.REPLACED
    after = key_history.statement(seq, new, old, old_signer)
    event = Event(type=kind, occurred_at=audit_log.now(), actor=actor, after=after, reason_text=reason)
    if audit_log.append(connection, event) != seq:
        raise IntegrityError("the audit log grew while it was held; nothing was changed")
    key = {"id": new.verifier.key_id.hex(), "vkey": new.verifier.vkey(), "since": seq}
    connection.execute(audit_keys.insert().values(key))


def _current(connection: sa.Connection) -> Key | None:
    return next((key for key in reversed(keys(connection)) if key.until is None), None)


def _refusal(connection: sa.Connection, current: Key, other: Signer) -> str:
    mine = other.verifier.key_id.hex()
    retired = {key.id: key.until for key in keys(connection) if key.vkey == other.verifier.vkey()}
    if mine in retired:
        return (
            f"the key {mine} that audit.key names was retired by event {retired[mine]}; the log's key is {current.id}. "
            "If a rotation was interrupted, run `fwd2bot audit rotate-key` to finish it; else name the log's key"
        )
    return (
        f"the log's key is {current.id}, and audit.key names {mine}, which the log does not know: put the right key "
        "there, or, if it is lost, run `fwd2bot audit rotate-key --lost REASON`"
    )

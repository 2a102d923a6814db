"""Which key signed a log when, told by the log itself: each key begins and ends with an event that is signed.

A key is added by the first statement, which it signs itself; rotated by one that the old and the new key sign; replaced
by one that the new key alone signs, because the old one was lost, which whoever verifies must be told. Knows nothing
about where events or private keys are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fwd2bot_core.audit.notes import Opened, Signer, Verifier, open_note, sign_note
from fwd2bot_core.errors import NoteInvalid

ADDED = "audit.key-added"
ROTATED = "audit.key-rotated"
REPLACED = "audit.key-replaced"
TYPES = (ADDED, ROTATED, REPLACED)
_HEADER = "fwd2bot audit key v1"
_NONE = "none"


@dataclass(frozen=True, slots=True)
class Span:
    """A key and the events that it may sign for: checkpoints of more than ``since`` and at most ``until`` events."""

    verifier: Verifier
    since: int  # number of the event that introduced it
    until: int | None = None  # number of the event that retired it
    vouched: bool = True  # the key before it signed for it; the first one nobody can vouch for but its owner

    def covers(self, size: int) -> bool:
        """Whether a checkpoint over ``size`` events may be signed by it."""
        return self.since < size and (self.until is None or size <= self.until)


def statement(
    seq: int, new: Signer, old: Verifier | None = None, old_signer: Signer | None = None
) -> dict[str, Any]:
    """The ``after`` of the event number ``seq`` that makes ``new`` the log's key; its signers sign one statement.

    Raises ``NoteInvalid`` when the two keys do not have the log's one name.
    """
    if old is not None and (old.name != new.name or old == new.verifier):
        raise NoteInvalid(
            f"{new.verifier.vkey()} cannot follow {old.vkey()}: another log's key, or the same one"
        )
    signers = [new] if old_signer is None else [old_signer, new]
    after: dict[str, Any] = {"new": new.verifier.vkey()} | ({} if old is None else {"old": old.vkey()})
    return after | {"statement": sign_note(_text(seq, new.verifier, old), signers)}


def history(events: Iterable[tuple[int, str, Mapping[str, Any]]]) -> list[Span]:
    """The keys of a log, oldest first, from (number, type, ``after``) of its events of ``TYPES`` in order.

    Raises ``NoteInvalid`` for a statement that is not signed by whom it must be, or does not follow the last one.
    """
    spans: list[Span] = []
    for seq, kind, after in events:
        new, old = _read(seq, kind, after)
        if old != (spans[-1].verifier if spans else None):
            raise NoteInvalid(f"event {seq} ({kind}) does not follow the key that was the log's until then")
        if old is not None:
            spans[-1] = replace(spans[-1], until=seq)
        spans.append(Span(new, seq, vouched=kind != REPLACED))
    return spans


def _read(seq: int, kind: str, after: Mapping[str, Any]) -> tuple[Verifier, Verifier | None]:
    try:
        new = Verifier.parse(str(after["new"]))
        old = Verifier.parse(str(after["old"])) if "old" in after else None
        opened = open_note(str(after["statement"]), [new] if old is None else [old, new])
    except KeyError as error:
        raise NoteInvalid(f"event {seq} ({kind}) has no {error}") from None
    if opened.text != _text(seq, new, old) or not _signed_by_whom_it_must(kind, opened, new, old):
        raise NoteInvalid(f"the statement of event {seq} ({kind}) says something else, or lacks a signature")
    return new, old


def _signed_by_whom_it_must(kind: str, opened: Opened, new: Verifier, old: Verifier | None) -> bool:
    needed: dict[str, set[Verifier | None]] = {ADDED: {new}, ROTATED: {new, old}, REPLACED: {new}}
    right = kind in needed and needed[kind] <= set(opened.signatures)
    return right and (kind == ADDED) == (old is None)


def _text(seq: int, new: Verifier, old: Verifier | None) -> str:
    """No checkpoint can read so, since its second line would be a number; so neither signature passes for the other."""
    return f"{_HEADER}\nlog {new.name}\nevent {seq}\nold {_NONE if old is None else old.vkey()}\nnew {new.vkey()}\n"

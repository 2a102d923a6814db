"""Signed notes as C2SP's ``signed-note`` writes them: a text, a blank line, one line for each signature.

Whoever reads a note is handed bytes by a stranger, so everything here is strict and bounded. Knows the form; its keys
are those of ``note_keys``. Knows nothing about what a text says.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fwd2bot_core.audit.note_keys import (
    CONTROL,
    COSIGNATURE,
    ED25519,
    Ed25519Signer,
    Signer,
    Verifier,
    check_name,
    key_id,
    strict_base64,
    utf8,
)
from fwd2bot_core.errors import NoteInvalid

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "Ed25519Signer",
    "Opened",
    "Signature",
    "Signer",
    "Verifier",
    "add_lines",
    "check_name",
    "cosigned_at",
    "key_id",
    "open_note",
    "sign_note",
    "signature",
    "split_note",
    "strict_base64",
]

MAX_NOTE_BYTES = 256 * 1024  # room for 16 signatures of the largest post-quantum kind, and then some
MAX_SIGNATURES = 100
_DASH = "\u2014 "


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, of whomever."""

    name: str
    key_id: bytes  # 4
    payload: bytes  # the signature itself; of type 4 with 8 bytes of time before it

    def line(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.payload).decode()}\n"


@dataclass(frozen=True, slots=True)
class Opened:
    """A note whose signatures by known keys are all right. Trust ``text`` only for the keys in ``signatures``."""

    text: str
    signatures: tuple[Verifier, ...]  # known keys that signed, each once
    unknown: tuple[tuple[str, bytes], ...]  # name and id of each other line's key
    lines: tuple[Signature, ...]  # every line, in order


def sign_note(text: str, signers: Sequence[Signer]) -> str:
    """``text`` (ends with a newline) with a line for each signer.

    Raises ``NoteInvalid`` for a text that a note cannot hold, and when a signer's signature is not its key's.
    """
    lines = [signature(text, signer).line() for signer in signers]
    note = text + "\n" + "".join(lines)
    split_note(note)
    return note


def signature(text: str, signer: Signer) -> Signature:
    """One signer's signature, checked: a key store may hold another key than the one it shows."""
    made = Signature(signer.name, signer.verifier.key_id, signer.sign(text))
    if not signer.verifier.verify(text, made.payload):
        raise NoteInvalid(f"what signs for {signer.name} made a signature that is not of its own key")
    return made


def open_note(note: str, verifiers: Iterable[Verifier]) -> Opened:
    """Check every line whose key is known; other lines are told, not judged. ``signatures`` may be empty.

    Raises ``NoteInvalid`` for a bad form, and for a known key's wrong signature.
    """
    text, lines = split_note(note)
    known = _by_name_and_id(verifiers)
    signed: dict[Verifier, None] = {}
    unknown = []
    for line in lines:
        verifier = known.get((line.name, line.key_id))
        if verifier is None:
            unknown.append((line.name, line.key_id))
        elif verifier.verify(text, line.payload):
            signed[verifier] = None
        else:
            raise NoteInvalid(f"the signature of {line.name} ({line.key_id.hex()}) is not over this text")
    return Opened(text, tuple(signed), tuple(unknown), lines)


def add_lines(note: str, lines: str) -> str:
    """``note`` with further signature lines, such as a witness answers; those that it has already stay single.

    Raises ``NoteInvalid`` for what are no signature lines. Whether they are right, ``open_note`` says.
    """
    text, there = split_note(note)
    same, added = split_note(text + "\n" + lines)
    if same != text:
        raise NoteInvalid("what was to be added has a blank line, and would change what was signed")
    longer = text + "\n" + "".join(line.line() for line in dict.fromkeys((*there, *added)))
    split_note(longer)
    return longer


def split_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """The text and all signature lines, nothing verified. Raises ``NoteInvalid``."""
    if len(note) > MAX_NOTE_BYTES or len(utf8(note)) > MAX_NOTE_BYTES:
        raise NoteInvalid(f"the note is longer than {MAX_NOTE_BYTES} bytes")
    if CONTROL.search(note):
        raise NoteInvalid("the note has control characters; its lines end with a newline and nothing else")
    text, blank, rest = note.rpartition("\n\n")
    if not blank or not text or not rest.endswith("\n"):
        raise NoteInvalid("the note is not a text, a blank line and whole signature lines")
    lines = rest.split("\n")[:-1]
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid(
            f"the note has {len(lines)} signatures; more than {MAX_SIGNATURES} are not looked at"
        )
    return text + "\n", tuple(map(_parse_line, lines))


def cosigned_at(payload: bytes) -> int:
    """Seconds since 1970 in the payload of a signature of type 4. Verify it first."""
    return int.from_bytes(payload[:8])


def _parse_line(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise NoteInvalid(f"{line[:80]!r} is no signature line")
    check_name(name)
    data = strict_base64(encoded, f"the signature of {name[:80]}")
    if len(data) <= 4:
        raise NoteInvalid(f"the signature of {name[:80]} is empty")
    return Signature(name, data[:4], data[4:])


def _by_name_and_id(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise NoteInvalid(f"two different keys are known as {verifier.name} {verifier.key_id.hex()}")
    return known

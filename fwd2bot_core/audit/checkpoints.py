"""Checkpoints as C2SP's ``tlog-checkpoint`` writes them: which log, how many events, which root; signed as a note.

Knows the three lines and who may sign them. Knows nothing about the tree itself, or where checkpoints are kept.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fwd2bot_core.audit.merkle import HASH_BYTES
from fwd2bot_core.audit.notes import (
    ED25519,
    Opened,
    Signer,
    Verifier,
    open_note,
    sign_note,
    strict_base64,
)
from fwd2bot_core.errors import NoteInvalid, UnknownKey

LARGEST_SIZE = 2**63 - 1  # what SQL and other programs' integers hold
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of one log: the root over its first ``size`` events."""

    origin: str
    size: int
    root: bytes  # 32
    extensions: tuple[str, ...] = ()  # further lines of other logs; ours has none

    def text(self) -> str:
        """What is signed. Raises ``NoteInvalid`` for an origin, size or root that no checkpoint can have."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        text = "\n".join(lines) + "\n"
        if Checkpoint.parse(text) != self:
            raise NoteInvalid(f"a part of the checkpoint of {self.origin[:80]!r} has a line break")
        return text

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read what ``text`` wrote. Raises ``NoteInvalid``."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise NoteInvalid(
                "a checkpoint has three lines or more, none of them empty, each with its newline"
            )
        origin, size, root, *extensions = lines
        hashed = strict_base64(root, f"the root hash of {origin[:80]!r}")
        if len(hashed) != HASH_BYTES:
            raise NoteInvalid(
                f"the root hash of {origin[:80]!r} has {len(hashed)} bytes instead of {HASH_BYTES}"
            )
        return cls(origin, parse_size(size), hashed, tuple(extensions))


def parse_size(text: str) -> int:
    """A tree size: ASCII decimal without leading zeros, up to ``LARGEST_SIZE``. Raises ``NoteInvalid``."""
    size = int(text) if _DECIMAL.fullmatch(text) else -1
    if not 0 <= size <= LARGEST_SIZE:
        raise NoteInvalid(f"{text[:80]!r} is no tree size: decimal digits without leading zeros, below 2^63")
    return size


def sign(checkpoint: Checkpoint, signers: Sequence[Signer]) -> str:
    """The signed note. Raises ``NoteInvalid``; whether the log may be signed, the caller has made sure."""
    return sign_note(checkpoint.text(), signers)


def read(note: str, verifiers: Iterable[Verifier]) -> Checkpoint:
    """The checkpoint of a note that at least one of the keys signed.

    A key of type 1 speaks only for the log that has its name; a witness's key (type 4) for every log. Raises
    ``NoteInvalid`` for a bad form or a known key's wrong signature, and ``UnknownKey`` when none of the keys signed.
    """
    return read_opened(open_note(note, verifiers))


def read_opened(opened: Opened) -> Checkpoint:
    """The same, of a note that is open already."""
    checkpoint = Checkpoint.parse(opened.text)
    if not any(key.kind != ED25519 or key.name == checkpoint.origin for key in opened.signatures):
        signed = ", ".join(sorted({f"{name[:80]} {key_id.hex()}" for name, key_id in opened.unknown})[:5])
        raise UnknownKey(
            f"none of the known keys signed the checkpoint of {checkpoint.origin[:80]!r} at {checkpoint.size} events "
            f"(signed by: {signed or 'keys of other logs'}); give the verifier key that its owner publishes"
        )
    return checkpoint

"""What a witness decides (C2SP ``tlog-witness``): whether a log's new checkpoint extends the last one that it saw.

It remembers one checkpoint a log, and signs with a time that it saw the next; so a log that shows two histories, or
takes one back, is found out by whoever asks for the witness's line. Knows the request's form, the checks and their
answers. Knows nothing about HTTP, or where it is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fwd2bot_core.audit.checkpoints import Checkpoint, parse_size
from fwd2bot_core.audit.merkle import EMPTY, HASH_BYTES, verify_consistency
from fwd2bot_core.audit.notes import (
    MAX_NOTE_BYTES,
    Opened,
    Signature,
    Signer,
    Verifier,
    open_note,
    signature,
    split_note,
    strict_base64,
)
from fwd2bot_core.errors import NoteInvalid

MAX_PROOF = 63
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4096  # a note, and a proof before it


@dataclass(frozen=True, slots=True)
class Request:
    """``add-checkpoint``: the size that the log believes was seen last, a proof from there, the new signed note."""

    old: int
    proof: tuple[bytes, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Extends:
    """A checkpoint that may be cosigned."""

    checkpoint: Checkpoint
    text: str
    signatures: tuple[Signature, ...]  # of the log's keys, verified; strangers' lines are left out

    def cosigned(self, signer: Signer) -> tuple[str, str]:
        """The witness's line, and the note with the log's lines and it."""
        line = signature(self.text, signer).line()
        return line, f"{self.text}\n" + "".join(one.line() for one in self.signatures) + line


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is cosigned; ``size`` only where the log can go on from there."""

    status: HTTPStatus
    why: str
    size: int | None = None


def parse_request(body: bytes) -> Request:
    """Raises ``NoteInvalid`` for anything but the one form."""
    if len(body) > MAX_REQUEST_BYTES:
        raise NoteInvalid(f"the request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        head, blank, note = body.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise NoteInvalid("the request is no UTF-8") from None
    first, *lines = head.split("\n", MAX_PROOF + 1)
    if not blank or not first.startswith("old "):
        raise NoteInvalid("the request is not 'old SIZE', the proof's lines, a blank line and a note")
    if len(lines) > MAX_PROOF:
        raise NoteInvalid(f"the proof has more than {MAX_PROOF} hashes")
    return Request(parse_size(first.removeprefix("old ")), tuple(map(_hash, lines)), note)


def judge(
    body: bytes, logs: Mapping[str, Sequence[Verifier]], seen: Mapping[str, Checkpoint]
) -> Extends | Refusal:
    """Whether a request's checkpoint may be cosigned.

    ``logs``: origin -> the keys that it is believed with; ``seen``: origin -> the checkpoint that was cosigned last.
    What is returned must be remembered before it is answered, and nothing else may be judged in between.
    """
    try:
        request = parse_request(body)
        checkpoint = Checkpoint.parse(split_note(request.note)[0])
    except NoteInvalid as error:
        return Refusal(HTTPStatus.BAD_REQUEST, str(error))
    if checkpoint.origin not in logs:
        return Refusal(HTTPStatus.NOT_FOUND, "no such log is watched here")
    try:
        opened = open_note(request.note, logs[checkpoint.origin])
    except NoteInvalid as error:
        return Refusal(HTTPStatus.FORBIDDEN, str(error))
    if not opened.signatures:
        return Refusal(HTTPStatus.FORBIDDEN, "none of the log's known keys signed it")
    return _follows(request, checkpoint, seen.get(checkpoint.origin)) or _extends(checkpoint, opened)


def _follows(request: Request, new: Checkpoint, last: Checkpoint | None) -> Refusal | None:
    size, root = (last.size, last.root) if last else (0, EMPTY)
    if request.old > new.size:
        return Refusal(HTTPStatus.BAD_REQUEST, "the old size is larger than the new one")
    if request.old != size:
        return Refusal(HTTPStatus.CONFLICT, f"the last size seen is {size}", size)
    if not verify_consistency(size, root, new.size, new.root, request.proof):
        return Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"it does not follow from what was seen at {size} events"
        )
    return None


def _extends(checkpoint: Checkpoint, opened: Opened) -> Extends:
    known = {(key.name, key.key_id) for key in opened.signatures}
    lines = dict.fromkeys(line for line in opened.lines if (line.name, line.key_id) in known)
    return Extends(checkpoint, opened.text, tuple(lines))


def _hash(line: str) -> bytes:
    digest = strict_base64(line, "a hash of the proof")
    if len(digest) != HASH_BYTES:
        raise NoteInvalid(f"a hash of the proof has {len(digest)} bytes instead of {HASH_BYTES}")
    return digest

"""The proof of one event as a text file: C2SP tlog-proof@v1, which anybody can check without the log.

Knows the lines. Knows nothing about signatures, and whether a proof that it has parsed is right:
``notes`` opens the checkpoint in it, ``merkle.verify_inclusion`` follows the path to the checkpoint's root.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from fwd2bot_core.audit.merkle import HASH_BYTES
from fwd2bot_core.audit.notes import strict_base64
from fwd2bot_core.errors import IntegrityError

FIRST_LINE = "c2sp.org/tlog-proof@v1"
_MOST_HASHES = 63  # a path in a tree of 2**63 leaves
_MOST_TEXT = 1 << 20  # characters; a file that somebody hands us may be anything
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """What the text says; nothing of it is verified."""

    index: int  # of the event, from 0
    hashes: list[bytes]  # 32 bytes each, from the leaf's sibling up
    note: str  # the signed checkpoint, word for word
    extra: bytes | None = None  # protected by nothing


def format_proof(index: int, proof: Sequence[bytes], note: str, extra: bytes | None = None) -> str:
    """The text to keep as ``NAME.tlog-proof``: 1.2 KB for a log of a million events and one signature."""
    lines = [FIRST_LINE]
    if extra is not None:
        lines.append(f"extra {_text(extra)}")
    lines += [f"index {index}", *map(_text, proof), "", note]
    return "\n".join(lines)


def parse(text: str) -> TlogProof:
    """What ``format_proof`` was given; raises ``IntegrityError`` for a text that it cannot have made."""
    if len(text) > _MOST_TEXT:
        raise IntegrityError(f"a proof of {len(text)} characters is none; the most is {_MOST_TEXT}")
    head, gap, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != FIRST_LINE:
        raise IntegrityError(f"not a proof of an event: its first line is not {FIRST_LINE!r}")
    if not gap or not note:
        raise IntegrityError("the proof has no checkpoint after its empty line; ask for the whole file")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = strict_base64(lines.pop(0).removeprefix("extra "), "the proof's extra data")
    return TlogProof(_index(lines), _hashes(lines[1:]), note, extra)


def _index(lines: list[str]) -> int:
    name, _, digits = lines[0].partition(" ") if lines else ("", "", "")
    if name != "index" or not _NUMBER.fullmatch(digits):
        raise IntegrityError("the proof does not say which event it is for in a line 'index NUMBER'")
    return int(digits)


def _hashes(lines: list[str]) -> list[bytes]:
    if len(lines) > _MOST_HASHES:
        raise IntegrityError(f"the proof has {len(lines)} hashes; no log is so large that it needs them")
    hashes = [strict_base64(line, f"hash {number} of the proof") for number, line in enumerate(lines, 1)]
    if any(len(digest) != HASH_BYTES for digest in hashes):
        raise IntegrityError(f"a hash of the proof does not have {HASH_BYTES} bytes")
    return hashes


def _text(data: bytes) -> str:
    return b64encode(data).decode()

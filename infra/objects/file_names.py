"""How a file name on disk, which is bytes, becomes a segment of a key, which is text, and back.

UTF-8 names are their own keys. Linux also holds names that are no UTF-8 (an archive unpacked from Shift-JIS);
a lone surrogate for such a byte would fit neither SQL nor JSON, so the byte is written as ``\\xHH`` with two
lowercase hex digits. A backslash that a name really has in front of such a text is written ``\\x5c``; all
other backslashes stay. Both directions are exact: two files never share a key.

Knows nothing of folders or of what is in a file.
"""

from __future__ import annotations

import re
import uuid

from fwd2bot_core.errors import KeyRefused
from infra.objects.keys import check_segments, refuse_unsafe

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
_LOOKS_ESCAPED = re.compile(rb"\\(?=x[0-9a-f]{2})")
_TEMPORARY = re.compile(rb"\.fwd2bot-[0-9a-f]{32}\.tmp")


def segment_of(name: bytes) -> str:
    """The key's segment for a file name."""
    return _LOOKS_ESCAPED.sub(rb"\\x5c", name).decode(errors="backslashreplace")


def name_of(segment: str) -> bytes:
    """The file name for a key's segment. Raises ``KeyRefused`` for an escape that no listing would write."""
    name = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), segment.encode())
    if segment_of(name) != segment:
        raise KeyRefused(
            f"The key segment {segment!r} has a '\\xHH' that does not stand for a byte outside UTF-8."
        )
    return name


def relative_path(key: str) -> bytes:
    """The file's path below the root. Raises ``KeyRefused`` for a key that a folder cannot safely hold."""
    refuse_unsafe(key)
    names = [name_of(segment) for segment in key.split("/")]
    check_segments(key, names)
    if is_temporary(names[-1]):
        raise KeyRefused(f"The key {key!r} has the form of our unfinished files, which no listing shows.")
    return b"/".join(names)


def temporary_name() -> bytes:
    """A fresh name for a file that is being written."""
    return f".fwd2bot-{uuid.uuid4().hex}.tmp".encode()


def is_temporary(name: bytes) -> bool:
    """Is this the name of an unfinished file of ours?"""
    return _TEMPORARY.fullmatch(name) is not None

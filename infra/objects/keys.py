"""Which keys are safe, and which every store can hold.

Knows only the text of a key. Knows nothing of any store, nor whether an object is there.
"""

from __future__ import annotations

from fwd2bot_core.errors import KeyRefused

MAX_KEY_BYTES = 1024  # of UTF-8; S3's own limit
MAX_SEGMENT_BYTES = 255  # between two slashes; what a file system holds


def refuse_unsafe(key: str) -> None:
    """Raise ``KeyRefused`` for a key that might leave the root or cannot be written down.

    A segment ``.`` or ``..`` is refused everywhere, also where a store would take it as plain text: a proxy
    or an HTTP library between us and the store may resolve it.
    """
    if not key or "\0" in key:
        raise KeyRefused(f"The key {key!r} is empty or holds a NUL character: no store can hold it.")
    if any(segment in {".", ".."} for segment in key.split("/")):
        raise KeyRefused(f"The key {key!r} has a segment '.' or '..', which could leave the store's root.")
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise KeyRefused(
            f"The key {key!r} holds half a character (a surrogate) and is no Unicode text."
        ) from error


def check_key(key: str) -> None:
    """Raise ``KeyRefused`` unless each of the three stores can hold an object under ``key``."""
    refuse_unsafe(key)
    check_segments(key, [segment.encode() for segment in key.split("/")])


def check_segments(key: str, segments: list[bytes]) -> None:
    """Raise ``KeyRefused`` for an empty segment, one over 255 bytes, or over 1,024 bytes in all."""
    if not all(segments):
        raise KeyRefused(f"The key {key!r} has an empty segment: give it no leading, trailing or double '/'.")
    if any(len(segment) > MAX_SEGMENT_BYTES for segment in segments):
        raise KeyRefused(f"The key {key[:60]!r}… has a segment of more than 255 bytes; shorten that name.")
    total = sum(len(segment) + 1 for segment in segments) - 1
    if total > MAX_KEY_BYTES:
        raise KeyRefused(f"The key {key[:60]!r}… is {total:,} bytes long, and at most 1,024 can be held.")


def check_prefix(prefix: str) -> None:
    """Raise ``KeyRefused`` for a listing's prefix that could leave the root; an empty one is the root."""
    if prefix:
        refuse_unsafe(prefix)

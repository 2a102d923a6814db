"""One value, one sequence of bytes: the JSON that the audit log hashes, and commitments that stand for names.

The profile is RFC 8785 restricted to where it agrees with ``json.dumps``: ASCII keys, no floats, integers
that a double holds exactly, valid Unicode without NUL. Knows nothing about what the values mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fwd2bot_core.errors import IntegrityError

LARGEST_INT = 2**53 - 1
MAX_DEPTH = 16
MIN_SALT_BYTES = 16
_NAMES = set[str]()  # of members, found good: there are not many
_MOST_NAMES, _LONG_NAME = 1024, 64
_encode = json.JSONEncoder(  # made once; ``default`` is asked about mappings that are no dict
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False, default=dict
).encode


def canonical(body: Mapping[str, Any]) -> bytes:
    """The exact UTF-8 bytes of a JSON object. Raises ``ValueError`` for anything outside the profile."""
    if not isinstance(body, Mapping):
        raise ValueError(f"the body of an audit record is a JSON object, not {type(body).__name__}")
    return to_bytes(encoded(body))


def encoded(value: Any, depth: int = 0) -> str:
    """The canonical JSON of one value, ``depth`` levels inside a record, for ``to_bytes``. Raises ``ValueError``."""
    _check(value, depth)
    return _encode(value)


def to_bytes(text: str) -> bytes:
    """UTF-8. Raises ``ValueError`` for a lone surrogate, the one thing that ``encoded`` does not refuse itself."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not valid Unicode: {text[error.start : error.end]!r}") from error


def parse(data: bytes) -> dict[str, Any]:
    """The object whose canonical bytes are ``data``; raises ``IntegrityError`` if they are not canonical."""
    try:
        body = json.loads(data)
        same = canonical(body) == data
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"not a canonical audit record: {error}") from error
    if not same:
        raise IntegrityError("not a canonical audit record: its bytes differ from their canonical form")
    return dict(body)


def commitment(salt: bytes, field: str, value: str) -> str:
    """64 hex digits that stand for ``value`` of ``field`` and say nothing about it once ``salt`` is erased.

    ``salt`` is random, at least 16 bytes, and kept where it can be erased.
    """
    if len(salt) < MIN_SALT_BYTES:
        raise ValueError(f"a salt of {len(salt)} bytes lets names be guessed; use {MIN_SALT_BYTES} or more")
    digest = hashlib.sha256(b"fwd2bot commitment v1")
    for part in (salt, field.encode(), value.encode("utf-8", "surrogatepass")):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _check(value: Any, depth: int) -> None:
    """Raises ``ValueError`` for anything outside the profile, but for lone surrogates."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError(f"NUL in {value!r}")
    elif isinstance(value, int):  # True and False too
        if abs(value) > LARGEST_INT:
            raise ValueError(f"{value} is beyond the integers that every JSON reader holds exactly")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, (dict, Mapping)):  # last, and the plain type first: a look at Mapping is slow
        _check_members(value, depth + 1)
    elif value is not None:
        raise ValueError(f"an audit record cannot hold a {type(value).__name__}: {value!r}")


def _check_members(value: Mapping[str, Any], depth: int) -> None:
    """Most members are good texts under names that were seen before: a call for each would take twice as long."""
    for key, item in value.items():
        if key not in _NAMES:
            _check_name(key)
        if type(item) is not str or "\x00" in item or depth > MAX_DEPTH:
            _check(item, depth)


def _check_name(key: Any) -> None:
    if not isinstance(key, str) or not key.isascii() or "\x00" in key:
        raise ValueError(f"keys of an audit record are ASCII strings without NUL, not {key!r}")
    if len(_NAMES) < _MOST_NAMES and len(key) < _LONG_NAME:
        _NAMES.add(key)

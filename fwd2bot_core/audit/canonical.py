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


def canonical(body: Mapping[str, Any]) -> bytes:
    """The exact UTF-8 bytes of a JSON object. Raises ``ValueError`` for anything outside the profile."""
    if not isinstance(body, Mapping):
        raise ValueError(f"the body of an audit record is a JSON object, not {type(body).__name__}")
    checked = _checked(body, 0)
    return json.dumps(checked, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


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


def _checked(value: Any, depth: int) -> Any:
    """A copy of plain dicts, lists, strings, ints, booleans and None, or ``ValueError``."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _checked_text(value)
    if isinstance(value, int):
        if abs(value) > LARGEST_INT:
            raise ValueError(f"{value} is beyond the integers that every JSON reader holds exactly")
        return int(value)
    if isinstance(value, Mapping):
        return {_checked_key(key): _checked(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_checked(item, depth + 1) for item in value]
    raise ValueError(f"an audit record cannot hold a {type(value).__name__}: {value!r}")


def _checked_text(text: str) -> str:
    if "\x00" in text:
        raise ValueError(f"NUL in {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not valid Unicode: {text!r}") from error
    return str(text)


def _checked_key(key: Any) -> str:
    if not isinstance(key, str) or not key.isascii():
        raise ValueError(f"keys of an audit record are ASCII strings, not {key!r}")
    return _checked_text(key)

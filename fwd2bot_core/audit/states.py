"""Lists of every object version and how many facts the audit trail holds about it, sorted, under one Merkle root.

    {"n":2,"ref":"<64 hex digits>","state":"compressed"}      one line an object version; the leaf is its bytes

A list proves that a timeline is whole (the line says n: facts 0 to n - 1 must all be shown) and that a key is absent
(two neighbours between which it would stand). A reference is an HMAC under the list's own secret, whose hash is logged
with the root: it can be recomputed for a name, so nobody may later claim another place for it, and it says nothing
about any name once the secret is erased. Its first half stands for collection and key, so that the absence of a key
covers every version of it; its second half for the version.

Knows lines, references and proofs. Knows nothing about files, tables, or how a million lines are sorted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fwd2bot_core.audit.canonical import LARGEST_INT
from fwd2bot_core.audit.merkle import EMPTY, leaf_hash, verify_inclusion
from fwd2bot_core.errors import IntegrityError

REF_BYTES = 32
HALF = REF_BYTES // 2
SECRET_BYTES = 32
PACKED_BYTES = REF_BYTES + 8 + 1


class State(StrEnum):
    """What the ledger said of an object version when the list was made."""

    NEW = "new"  # not compressed yet
    FAILED = "failed"  # its last try failed, and no compressor has tokens of it
    COMPRESSED = "compressed"
    DESTROYED = "destroyed"  # its original is gone, and the store confirmed it


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One object version; lines are ordered by ``ref``, which is unique in a list."""

    ref: bytes  # 32 bytes
    n: int  # facts about it so far
    state: State
    superseded: bool = False  # its key holds another version, or nothing any more

    def encode(self) -> bytes:
        """Its canonical bytes, without a line break."""
        gone = ',"superseded":true' if self.superseded else ""
        return f'{{"n":{self.n},"ref":"{self.ref.hex()}","state":"{self.state}"{gone}}}'.encode()

    def pack(self) -> bytes:
        """``PACKED_BYTES`` bytes, ordered as lines are: what is sorted before anything is written."""
        return self.ref + self.n.to_bytes(8, "big") + bytes([2 * _STATES.index(self.state) + self.superseded])

    @classmethod
    def unpack(cls, data: bytes) -> Line:
        return cls(
            data[:REF_BYTES],
            int.from_bytes(data[REF_BYTES:-1], "big"),
            _STATES[data[-1] >> 1],
            bool(data[-1] & 1),
        )

    @classmethod
    def decode(cls, data: bytes) -> Line:
        """Raises ``IntegrityError`` for bytes that ``encode`` cannot have made."""
        found = _LINE.fullmatch(data)
        if found is None or int(found["n"]) > LARGEST_INT:
            raise IntegrityError(f"not a line of a state list: {data[:100]!r}")
        ref, state = bytes.fromhex(found["ref"].decode()), State(found["state"].decode())
        return cls(ref, int(found["n"]), state, found["gone"] is not None)


_STATES = tuple(State)
_LINE = re.compile(
    rb'{"n":(?P<n>0|[1-9][0-9]{0,15}),"ref":"(?P<ref>[0-9a-f]{64})","state":"(?P<state>'
    + "|".join(State).encode()
    + rb')"(?P<gone>,"superseded":true)?}'
)


class References:
    """The references of one list."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"the secret of a state list has {SECRET_BYTES} bytes, not {len(secret)}")
        self._key, self._version = (
            hmac.new(secret, b"fwd2bot state " + what, hashlib.sha256) for what in (b"key v1", b"version v1")
        )

    def key(self, collection: str, key: str) -> bytes:
        """16 bytes: what the references of every version of a key begin with."""
        return _half(self._key, collection, key)

    def version(self, collection: str, key: str, identity: str) -> bytes:
        """32 bytes that stand for one object version."""
        return self.key(collection, key) + _half(self._version, collection, key, identity)


def _half(keyed: hmac.HMAC, *names: str) -> bytes:
    """Length-prefixed, so that no two different sequences of names are the same bytes."""
    mac = keyed.copy()
    for name in names:
        data = name.encode("utf-8", "surrogatepass")  # a POSIX file name need not be valid Unicode
        mac.update(len(data).to_bytes(8, "big") + data)
    return mac.digest()[:HALF]


def secret_hash(secret: bytes) -> str:
    """What the log says of the secret, 64 hex digits: enough to recognise it, and nothing once it is erased."""
    return hashlib.sha256(b"fwd2bot state secret v1" + secret).hexdigest()


@dataclass(frozen=True, slots=True)
class Summit:
    """What a ``state.root`` event says of a list, and all that a proof is checked against."""

    rows: int
    root: bytes
    secret_sha256: str  # ``secret_hash``


@dataclass(frozen=True, slots=True)
class Listed:
    """One line with its place and the path to the root."""

    index: int
    line: bytes
    proof: tuple[bytes, ...]


def verify_listed(summit: Summit, listed: Listed) -> Line:
    """The line, proven to stand at its place in the list. Raises ``IntegrityError``."""
    if not verify_inclusion(leaf_hash(listed.line), listed.index, summit.rows, listed.proof, summit.root):
        raise IntegrityError(f"line {listed.index} of the state list does not lead to its root")
    return Line.decode(listed.line)


def verify_present(
    summit: Summit, secret: bytes, collection: str, key: str, identity: str, listed: Listed
) -> Line:
    """The line of this object version: how many facts there are about it. Raises ``IntegrityError``."""
    line = verify_listed(summit, listed)
    if line.ref != _references(summit, secret).version(collection, key, identity):
        raise IntegrityError(f"line {listed.index} of the state list is about another object than {key!r}")
    return line


def verify_absent(
    summit: Summit, secret: bytes, collection: str, key: str, before: Listed | None, after: Listed | None
) -> None:
    """Raises ``IntegrityError`` unless the two lines, neighbours, show that the list holds no version of this key.

    None stands for what lies beyond either end of the list.
    """
    sought = _references(summit, secret).key(collection, key)
    left = -1 if before is None else before.index
    right = summit.rows if after is None else after.index
    apart = right != left + 1 or (summit.rows == 0 and summit.root != EMPTY)
    if (
        apart
        or (before is not None and verify_listed(summit, before).ref[:HALF] >= sought)
        or (after is not None and verify_listed(summit, after).ref[:HALF] <= sought)
    ):
        raise IntegrityError(
            f"lines {left} and {right} of the state list are no neighbours between which {key!r} would stand"
        )


def _references(summit: Summit, secret: bytes) -> References:
    if secret_hash(secret) != summit.secret_sha256:
        raise IntegrityError("the secret is not the one that the log names for this state list")
    return References(secret)


def checked(lines: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a list, or of a part of it; raises ``IntegrityError`` at one that is out of order or no line."""
    last = b""
    for data in lines:
        line = Line.decode(data)
        if line.ref <= last:
            raise IntegrityError("the state list is not sorted, so it proves no absence")
        last = line.ref
        yield line

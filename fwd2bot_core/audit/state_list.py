"""A state list on disk: parts of 65,536 lines, compressed, and a manifest over them.

    audit/states/date=2026-11-24/<16 hex of the secret's hash>/00000-<16 hex of the body>.jsonl.zst
    audit/states/date=2026-11-24/<16 hex of the root>-<16 hex of the body>.json

A part's lines are a perfect subtree of the list's Merkle tree, so each part is written and checked for itself, and a
proof reads one or two of them however long the list is. Knows bytes. Knows nothing about where they are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice

import pyarrow as pa

from fwd2bot_core.audit.canonical import canonical, parse
from fwd2bot_core.audit.merkle import Subtree, inclusion_proof, leaf_hash, root
from fwd2bot_core.audit.states import Line, Listed, Summit, checked
from fwd2bot_core.errors import IntegrityError

VERSION = 1
PART = 1 << 16  # lines; a power of two, so that a full part is a perfect subtree
_LONGEST = 160  # bytes of a line, and more than any has


@dataclass(frozen=True, slots=True)
class Part:
    """Up to 65,536 lines; only the last part of a list has fewer."""

    path: str
    sha256: str  # of the stored bytes
    rows: int
    facts: int  # the sum of its lines' ``n``
    first: str  # the reference of its first line
    root: str  # RFC 6962 root over its lines


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole list."""

    size: int  # events in the log when the ledger looked so
    rows: int
    facts: int
    root: str
    secret_sha256: str
    parts: tuple[Part, ...]

    @classmethod
    def over(cls, parts: Sequence[Part], size: int, secret_sha256: str) -> Manifest:
        """The manifest of these parts, in order."""
        rows, facts = (sum(getattr(part, name) for part in parts) for name in ("rows", "facts"))
        return cls(size, rows, facts, _root(parts), secret_sha256, tuple(parts))

    @property
    def summit(self) -> Summit:
        return Summit(self.rows, bytes.fromhex(self.root), self.secret_sha256)

    def encode(self) -> bytes:
        return (
            canonical({"v": VERSION} | asdict(self) | {"parts": [asdict(part) for part in self.parts]})
            + b"\n"
        )

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Raises ``IntegrityError`` for a manifest whose parts do not add up to what it says."""
        body = parse(data.removesuffix(b"\n"))
        try:
            parts = [Part(**part) for part in body["parts"]]
            same = cls.over(parts, body["size"], body["secret_sha256"])
            full = all(part.rows == PART for part in parts[:-1]) and all(
                0 < part.rows <= PART for part in parts
            )
            whole = full and same.encode() == data
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"not a manifest of a state list: {error!r}") from error
        if not whole:
            raise IntegrityError("the manifest of the state list does not agree with its parts")
        return same


def _root(parts: Sequence[Part]) -> str:
    return root(bytes.fromhex(part.root) for part in parts).hex()


def write_parts(lines: Iterable[Line], folder: str) -> Iterator[tuple[Part, bytes]]:
    """Each part and its bytes, of lines in ascending order; holds one part in memory."""
    source, number = iter(lines), 0
    while chunk := list(islice(source, PART)):
        encoded = [line.encode() for line in chunk]
        body = bytes(pa.compress(b"".join(line + b"\n" for line in encoded), codec="zstd", asbytes=True))
        digest = hashlib.sha256(body).hexdigest()
        path = f"{folder}/{number:05}-{digest[:16]}.jsonl.zst"
        facts = sum(line.n for line in chunk)
        top = root(map(leaf_hash, encoded)).hex()
        yield Part(path, digest, len(chunk), facts, chunk[0].ref.hex(), top), body
        number += 1


def read_part(part: Part, body: bytes) -> list[bytes]:
    """Its encoded lines. Raises ``IntegrityError`` unless the bytes are those that the manifest names."""
    if hashlib.sha256(body).hexdigest() != part.sha256:
        raise IntegrityError(f"{part.path} does not hold the bytes that its manifest names")
    data = _decompressed(body, part.rows * _LONGEST)
    lines = data.split(b"\n")
    if lines.pop() != b"" or len(lines) != part.rows or root(map(leaf_hash, lines)).hex() != part.root:
        raise IntegrityError(f"{part.path} does not hold the lines that its manifest names")
    return lines


def check_part(part: Part, lines: Sequence[bytes]) -> None:
    """Raises ``IntegrityError`` unless the lines are sorted and have as many facts as the manifest says."""
    found = list(checked(lines))
    if found[0].ref.hex() != part.first or sum(line.n for line in found) != part.facts:
        raise IntegrityError(f"the lines of {part.path} do not add up to what its manifest says")


def listed(manifest: Manifest, index: int, lines: Sequence[bytes]) -> Listed:
    """Line ``index`` of the list with its proof; ``lines`` are those of the part that it is in."""
    number, place = divmod(index, PART)
    hashes = [leaf_hash(line) for line in lines]
    tops = [bytes.fromhex(part.root) for part in manifest.parts]
    within = inclusion_proof(place, len(hashes), _subtrees(hashes))
    above = inclusion_proof(number, len(tops), _subtrees(tops))
    return Listed(index, lines[place], (*within, *above))


def _subtrees(hashes: Sequence[bytes]) -> Subtree:
    return lambda level, number: root(hashes[number << level : (number + 1) << level])


def _decompressed(body: bytes, limit: int) -> bytes:
    """At most ``limit`` bytes: a small file may unpack to more than there is memory."""
    try:
        with pa.input_stream(pa.py_buffer(body), compression="zstd") as stream:
            data = bytes(stream.read(limit + 1))
    except OSError as error:
        raise IntegrityError(f"a part of the state list cannot be decompressed: {error}") from error
    if len(data) > limit:
        raise IntegrityError("a part of the state list unpacks to more than its lines can be")
    return data


def folder_of(night: date, secret_sha256: str) -> str:
    """Where the parts of one list lie."""
    return f"audit/states/date={night.isoformat()}/{secret_sha256[:16]}"


def manifest_path(night: date, top: str, body_sha256: str) -> str:
    """``audit/states/date=2026-11-24/<16 hex of the root>-<16 hex of the body>.json``."""
    return f"audit/states/date={night.isoformat()}/{top[:16]}-{body_sha256[:16]}.json"

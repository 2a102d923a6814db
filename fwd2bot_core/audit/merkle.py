"""The Merkle tree of RFC 6962 (Certificate Transparency), section 2.1.

Knows hashes. Knows nothing about what a leaf says or where it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()  # the root of no leaves


def leaf_hash(body: bytes) -> bytes:
    """32 bytes: SHA-256(0x00 || body)."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """32 bytes: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: all that is needed to append and to know the root. One hash a level."""

    size: int  # leaves
    peaks: list[bytes]  # roots of the perfect subtrees, largest first: one for each bit set in ``size``

    @classmethod
    def empty(cls) -> Frontier:
        return cls(0, [])

    @classmethod
    def load(cls, size: int, data: bytes) -> Frontier:
        """What ``dump`` gave for a tree of ``size`` leaves; raises ``ValueError`` for bytes of another size."""
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"{len(data)} bytes are no frontier of {size} leaves")
        return cls(size, [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)])

    def dump(self) -> bytes:
        return b"".join(self.peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the right."""
        count = self.size
        while count & 1:  # each trailing one bit is a perfect subtree that this leaf completes
            leaf = node_hash(self.peaks.pop(), leaf)
            count >>= 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """32 bytes; ``EMPTY`` for no leaves."""
        if not self.peaks:
            return EMPTY
        *rest, result = self.peaks
        for peak in reversed(rest):
            result = node_hash(peak, result)
        return result


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over leaf hashes in their order. Streams: keeps one hash for each level of the tree."""
    frontier = Frontier.empty()
    for leaf in leaf_hashes:
        frontier.append(leaf)
    return frontier.root()

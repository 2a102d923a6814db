"""The Merkle tree of RFC 6962 (Certificate Transparency), section 2.1.

Knows hashes. Knows nothing about what a leaf says or where it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def leaf_hash(body: bytes) -> bytes:
    """32 bytes: SHA-256(0x00 || body)."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """32 bytes: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The 32-byte root over leaf hashes in their order; SHA-256 of nothing for an empty tree.

    Streams: keeps one hash for each level of the tree.
    """
    frontier: list[bytes] = []  # roots of the perfect subtrees seen so far, largest first
    for count, leaf in enumerate(leaf_hashes):
        merged = leaf
        while count & 1:  # each trailing one bit is a perfect subtree that this leaf completes
            merged = node_hash(frontier.pop(), merged)
            count >>= 1
        frontier.append(merged)
    if not frontier:
        return hashlib.sha256(b"").digest()
    result = frontier.pop()
    while frontier:
        result = node_hash(frontier.pop(), result)
    return result

"""The Merkle tree of RFC 6962 (Certificate Transparency): its roots, its proofs, and their verification.

A proof needs only some perfect subtrees. ``Subtree`` serves them, whoever keeps them: a database, tiles on
another storage, a list in a test. Knows hashes. Knows nothing about what a leaf says or where it is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()  # the root of no leaves

Subtree = Callable[[int, int], bytes]  # (level, n): root of the perfect subtree of 2**level leaves, number n


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


def frontier_of(size: int, subtree: Subtree) -> Frontier:
    """The frontier that a tree has, or had, at ``size`` leaves; reads one subtree for each bit set in it."""
    return Frontier(size, list(_peaks(0, size, subtree)))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The path from leaf ``index``, counted from 0, to the root over ``size`` leaves: RFC 6962, 2.1.1.

    Its hashes, 32 bytes each, lead from the leaf's sibling up. Raises ``ValueError`` for a leaf that such a
    tree does not have.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path = []
    first, last = 0, size
    while last - first > 1:
        middle = first + _half(last - first)
        if index < middle:
            path.append(_root_of(middle, last, subtree))
            last = middle
        else:
            path.append(_root_of(first, middle, subtree))
            first = middle
    return path[::-1]


def consistency_proof(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """What shows that the first ``old`` of ``size`` leaves are as they were: RFC 6962, 2.1.2.

    Empty for ``old`` equal to ``size``, and for 0, with which every tree is consistent. Raises
    ``ValueError`` for an older tree that is larger.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {old} leaves cannot have grown to one of {size}")
    path = []
    first, last = 0, size if old else 0
    while old != last:
        middle = first + _half(last - first)
        if old <= middle:
            path.append(_root_of(middle, last, subtree))
            last = middle
        else:
            path.append(_root_of(first, middle, subtree))
            first = middle
    if first:  # else what is left is the old tree itself, whose root the verifier has
        path.append(_root_of(first, last, subtree))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``leaf`` (its hash) is number ``index`` of the ``size`` leaves under ``root``: RFC 9162, 2.1.3.2."""
    if not 0 <= index < size or any(len(digest) != HASH_BYTES for digest in (leaf, *proof)):
        return False
    node, edge, found = index, size - 1, leaf
    for sibling in proof:
        if edge == 0:
            return False  # the path goes on above the root
        if node & 1 or node == edge:
            found = node_hash(sibling, found)
            node, edge = _skip_lonely(node, edge)
        else:
            found = node_hash(found, sibling)
        node, edge = node >> 1, edge >> 1
    return edge == 0 and found == root


def verify_consistency(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree under ``new_root`` begins with all of the one under ``old_root``: RFC 9162, 2.1.4.2."""
    if not 0 <= old <= size or any(len(digest) != HASH_BYTES for digest in (old_root, new_root, *proof)):
        return False
    if old == 0 or old == size:
        known = EMPTY if old == 0 else new_root
        return not proof and old_root == known and (size > 0 or new_root == EMPTY)
    path = iter(proof if old.bit_count() > 1 else [old_root, *proof])  # a perfect old tree is left out of it
    node, edge = old - 1, size - 1
    while node & 1:
        node, edge = node >> 1, edge >> 1
    was = now = next(path, b"")
    for sibling in path:
        if edge == 0:
            return False
        if node & 1 or node == edge:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            node, edge = _skip_lonely(node, edge)
        else:
            now = node_hash(now, sibling)
        node, edge = node >> 1, edge >> 1
    return edge == 0 and was == old_root and now == new_root


def _skip_lonely(node: int, edge: int) -> tuple[int, int]:
    """Up to the level where the node is a right child: a last node without a sibling rises as it is."""
    while node and not node & 1:
        node, edge = node >> 1, edge >> 1
    return node, edge


def _half(count: int) -> int:
    """The largest power of two below ``count``, at least 2: where RFC 6962 parts a tree."""
    return 1 << ((count - 1).bit_length() - 1)


def _peaks(first: int, last: int, subtree: Subtree) -> Iterator[bytes]:
    """The perfect subtrees that make up the leaves from ``first`` to ``last``, largest first."""
    for level in reversed(range((last - first).bit_length())):
        if (last - first) >> level & 1:
            yield subtree(level, first >> level)
            first += 1 << level


def _root_of(first: int, last: int, subtree: Subtree) -> bytes:
    return Frontier(last - first, list(_peaks(first, last, subtree))).root()

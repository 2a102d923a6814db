"""Roots and proofs: by the book, by the reference's own numbers, and by two independent libraries."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import pymerkle
import pytest
import scitt_cose.merkle as scitt
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fwd2bot_core.audit.merkle import (
    EMPTY,
    consistency_proof,
    frontier_of,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The inputs and roots of the Certificate Transparency reference tests.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_the_known_roots(size: int) -> None:
    assert root(map(leaf_hash, LEAVES[:size])).hex() == ROOTS[size]


def by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + by_the_book(leaves[:half]) + by_the_book(leaves[half:])).digest()


@given(st.lists(st.binary(max_size=4), max_size=300))
def test_any_tree_has_the_root_of_the_definition(leaves: list[bytes]) -> None:
    assert root(map(leaf_hash, leaves)) == by_the_book(leaves)


@pytest.mark.parametrize("size", [2**10 - 1, 2**10, 2**10 + 1, 1777])
def test_large_trees_too(size: int) -> None:
    leaves = [str(number).encode() for number in range(size)]
    assert root(leaf_hash(leaf) for leaf in leaves) == by_the_book(leaves)


def test_a_leaf_cannot_pass_for_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert node_hash(left, right) == root([left, right])


# What follows are proofs; a tree's leaves are numbered bodies, all different.

BODIES = [b"event %d" % number for number in range(600)]
HASHES = [leaf_hash(body) for body in BODIES]
PROVEN = 260  # a tree of so many leaves has a full tile and more


@cache
def subtree(level: int, n: int) -> bytes:
    assert (n + 1) << level <= len(HASHES), "a proof asks for no subtree that is not complete"
    return root(HASHES[n << level : (n + 1) << level])


@cache
def root_of(size: int) -> bytes:
    return root(HASHES[:size])


sizes = st.integers(1, len(HASHES))


@st.composite
def places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(sizes)
    return draw(st.integers(0, size - 1)), size


def test_the_paths_of_the_reference_tests() -> None:
    """A tree over the eight known inputs; the hashes are the reference's own."""
    leaves = [leaf_hash(leaf) for leaf in LEAVES]

    def known(level: int, n: int) -> bytes:
        return root(leaves[n << level : (n + 1) << level])

    assert [step.hex() for step in inclusion_proof(0, 8, known)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [step.hex() for step in consistency_proof(6, 8, known)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [step.hex() for step in consistency_proof(2, 5, known)] == [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]


def test_the_example_that_the_rfc_draws() -> None:
    """RFC 6962, 2.1.3: seven leaves, the letters are those of the drawing."""
    a, b, c, d, e, f, j = HASHES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, last = node_hash(g, h), node_hash(i, j)
    assert inclusion_proof(0, 7, subtree) == [b, h, last]
    assert inclusion_proof(3, 7, subtree) == [c, g, last]
    assert inclusion_proof(4, 7, subtree) == [f, j, k]
    assert inclusion_proof(6, 7, subtree) == [i, k]
    assert consistency_proof(3, 7, subtree) == [c, d, g, last]
    assert consistency_proof(4, 7, subtree) == [last]
    assert consistency_proof(6, 7, subtree) == [i, j, k]


def test_every_leaf_of_every_tree_is_proven() -> None:
    for size in range(1, PROVEN):
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            assert verify_inclusion(HASHES[index], index, size, proof, root_of(size)), (index, size)


def test_every_tree_is_proven_to_begin_every_later_one() -> None:
    for size in range(PROVEN):
        assert frontier_of(size, subtree).root() == root_of(size)
        for old in range(size + 1):
            proof = consistency_proof(old, size, subtree)
            assert verify_consistency(old, root_of(old), size, root_of(size), proof), (old, size)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (7, 1), (5, 5), (9, 5), (-1, 5)])
def test_no_proof_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"no leaf {index}"):
        inclusion_proof(index, size, subtree)
    assert not verify_inclusion(HASHES[0], index, size, [], HASHES[0])


@pytest.mark.parametrize(("old", "size"), [(6, 5), (-1, 5)])
def test_no_proof_for_a_tree_that_shrank(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="cannot have grown"):
        consistency_proof(old, size, subtree)
    assert not verify_consistency(old, HASHES[0], size, HASHES[0], [])


def flip(data: bytes, bit: int) -> bytes:
    at = bit // 8 % len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit % 8]) + data[at + 1 :]


@st.composite
def spoilt(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    """The proof with one change that must not go through."""
    kinds = ["longer", "flipped", "shorter", "swapped", "cut", "shifted"]
    kind = draw(st.sampled_from(kinds if len(proof) > 1 else kinds[: 3 if proof else 1]))
    at = draw(st.integers(0, max(0, len(proof) - 1)))
    if kind == "longer":
        return [*proof[:at], draw(st.sampled_from([EMPTY, *proof])), *proof[at:]]
    if kind == "flipped":
        return [*proof[:at], flip(proof[at], draw(st.integers(0, 255))), *proof[at + 1 :]]
    if kind == "shorter":
        return proof[:at] + proof[at + 1 :]
    if kind == "cut":
        return [*proof[:at], proof[at][:-1], *proof[at + 1 :]]
    at = min(at, len(proof) - 2)
    first, second = proof[at : at + 2]
    if kind == "shifted":  # the same bytes in a row, parted elsewhere
        first, second = first + second[:1], second[1:]
        return [*proof[:at], first, second, *proof[at + 2 :]]
    return [*proof[:at], second, first, *proof[at + 2 :]]


@given(places(), st.data())
def test_a_changed_path_proves_nothing(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    proof = data.draw(spoilt(inclusion_proof(index, size, subtree)))
    assert not verify_inclusion(HASHES[index], index, size, proof, root_of(size))


@given(st.integers(2, len(HASHES)), st.data())
def test_a_changed_consistency_proof_proves_nothing(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    proof = data.draw(spoilt(consistency_proof(old, size, subtree)))
    assert not verify_consistency(old, root_of(old), size, root_of(size), proof)
    assert not verify_consistency(old, root_of(old), size, root_of(size), [])


@given(places(), places())
def test_a_path_is_good_for_its_own_place_only(place: tuple[int, int], other: tuple[int, int]) -> None:
    index, size = place
    proof = inclusion_proof(index, size, subtree)
    assume(place != other)
    assert not verify_inclusion(HASHES[index], *other, proof, root_of(other[1]))
    assert not verify_inclusion(HASHES[other[0]], index, size, proof, root_of(size)) or other[0] == index
    assert not verify_inclusion(HASHES[index], index, size, proof, root_of(other[1])) or other[1] == size


@given(places(), st.integers(0, 255))
def test_another_leaf_or_root_is_refused(place: tuple[int, int], bit: int) -> None:
    index, size = place
    proof = inclusion_proof(index, size, subtree)
    assert not verify_inclusion(flip(HASHES[index], bit), index, size, proof, root_of(size))
    assert not verify_inclusion(HASHES[index], index, size, proof, flip(root_of(size), bit))
    assert not verify_inclusion(HASHES[index][:31], index, size, proof, root_of(size))


@given(places(), places())
def test_a_consistency_proof_is_good_for_its_own_sizes_only(
    place: tuple[int, int], other: tuple[int, int]
) -> None:
    (old, size), (other_old, other_size) = place, other
    assume(place != other and old > 0 and other_old > 0)
    proof = consistency_proof(old, size, subtree)
    assert not verify_consistency(other_old, root_of(other_old), other_size, root_of(other_size), proof)
    assert not verify_consistency(old, root_of(size), size, root_of(size), proof)
    assert not verify_consistency(old, flip(root_of(old), other_old), size, root_of(size), proof)
    assert not verify_consistency(old, root_of(old), size, flip(root_of(size), other_old), proof)


def test_bytes_that_move_from_one_hash_into_its_neighbour_change_the_verdict() -> None:
    """Hashed in a row they would be the same: only their lengths tell."""
    sibling, *rest = inclusion_proof(4, 7, subtree)
    moved = HASHES[4] + sibling[:1]
    assert node_hash(moved, sibling[1:]) == node_hash(HASHES[4], sibling)
    assert not verify_inclusion(moved, 4, 7, [sibling[1:], *rest], root_of(7))
    (right,) = consistency_proof(4, 7, subtree)
    assert not verify_consistency(4, root_of(4) + right[:1], 7, root_of(7), [right[1:]])


def test_a_log_that_was_rewritten_has_no_proof_from_the_old_root() -> None:
    """Whoever changes one event before the old size must change the old root."""
    for changed in range(7):
        leaves = [*HASHES[:changed], leaf_hash(b"forged"), *HASHES[changed + 1 : 13]]

        def forged(level: int, n: int, leaves: list[bytes] = leaves) -> bytes:
            return root(leaves[n << level : (n + 1) << level])

        proof = consistency_proof(7, 13, forged)
        assert verify_consistency(7, root(leaves[:7]), 13, root(leaves), proof)
        assert not verify_consistency(7, root_of(7), 13, root(leaves), proof)


def test_with_nothing_everything_is_consistent_and_nothing_is_proven() -> None:
    assert verify_consistency(0, EMPTY, 0, EMPTY, [])
    assert verify_consistency(0, EMPTY, 9, root_of(9), [])
    assert not verify_consistency(0, HASHES[0], 9, root_of(9), [])
    assert not verify_consistency(0, EMPTY, 9, root_of(9), [HASHES[0]])
    assert not verify_consistency(0, EMPTY, 0, root_of(9), [])
    assert not verify_consistency(9, root_of(9), 9, root_of(9), [HASHES[0]])
    assert not verify_consistency(9, root_of(9), 9, root_of(8), [])


# Two libraries that know nothing of us.


@pytest.fixture(scope="module")
def pymerkle_tree() -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for body in BODIES:
        tree.append(body)
    return tree


@given(place=places())
def test_pymerkle_finds_the_same_roots_and_paths(
    pymerkle_tree: pymerkle.InmemoryTree, place: tuple[int, int]
) -> None:
    index, size = place
    assert pymerkle_tree.get_state(size) == root_of(size)
    theirs = pymerkle_tree.prove_inclusion(
        index + 1, size
    )  # its leaves count from one, its path begins with it
    assert theirs.path == [HASHES[index], *inclusion_proof(index, size, subtree)]
    change = pymerkle_tree.prove_consistency(index, size)
    pymerkle.verify_consistency(root_of(index), root_of(size), change)


@settings(max_examples=30, deadline=None)
@given(places())
def test_scitt_cose_finds_the_same_roots_and_proofs(place: tuple[int, int]) -> None:
    index, size = place
    entries = [body.hex() for body in BODIES[:size]]
    assert scitt.merkle_root(entries) == root_of(size).hex()
    assert scitt.inclusion_proof(entries, index) == hexed(inclusion_proof(index, size, subtree))
    assert scitt.consistency_proof(entries, index, size) == hexed(consistency_proof(index, size, subtree))


@settings(max_examples=400)
@given(places(), places(), st.data())
def test_scitt_cose_judges_right_and_wrong_proofs_as_we_do(
    place: tuple[int, int], claimed: tuple[int, int], data: st.DataObject
) -> None:
    (index, size), (wrong, other) = place, claimed
    proof = inclusion_proof(index, size, subtree)
    if data.draw(st.booleans()):
        wrong, other = index, data.draw(st.integers(index + 1, len(HASHES)))  # at times the shape is the same
    theirs = scitt.verify_inclusion(BODIES[index].hex(), wrong, other, hexed(proof), root_of(size).hex())
    assert verify_inclusion(HASHES[index], wrong, other, proof, root_of(size)) == theirs
    change = consistency_proof(index, size, subtree)
    theirs = scitt.verify_consistency(root_of(index).hex(), root_of(size).hex(), index, other, hexed(change))
    assert verify_consistency(index, root_of(index), other, root_of(size), change) == theirs


def hexed(hashes: list[bytes]) -> list[str]:
    return [digest.hex() for digest in hashes]

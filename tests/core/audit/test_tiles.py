"""Tiles: where they lie, which ones a log's growth makes, and that a stranger reads ours and we read a stranger's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import PlainEd25519Signer, Vkey
from tlog_scales.tlog import ConsistencyProof
from tlog_scales.writer import TilesWriter

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.merkle import (
    consistency_proof,
    frontier_of,
    inclusion_proof,
    leaf_hash,
    root,
    verify_inclusion,
)
from fwd2bot_core.audit.notes import Ed25519Signer
from fwd2bot_core.audit.tiles import (
    SubtreeFromTiles,
    Tile,
    TiledSubtrees,
    decode_entries,
    encode_entries,
    entries_path,
    tile_path,
    tiles_of,
)
from fwd2bot_core.errors import IntegrityError, ObjectMissing

ORIGIN = "fwd2bot/test"
SIZE = 70_000  # the size of the format's own example: three levels, with a partial tile on each
BODIES = [b"event %d" % number for number in range(SIZE)]
HASHES = [leaf_hash(body) for body in BODIES]


def in_memory(level: int, number: int) -> list[bytes]:
    """A tile's hashes straight from the leaves."""
    span = 256**level
    hashes = range(number * 256, min((number + 1) * 256, SIZE // span))
    return [root(HASHES[at * span : (at + 1) * span]) for at in hashes]


TREE = TiledSubtrees(in_memory)


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 67, 12, "tile/0/067.p/12"),
        (1, 999, 256, "tile/1/999"),
        (0, 1000, 256, "tile/0/x001/000"),
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (5, 1_234_067, 255, "tile/5/x001/x234/067.p/255"),
    ],
)
def test_where_a_tile_lies(level: int, number: int, width: int, path: str) -> None:
    assert tile_path(level, number, width) == Tile(level, number, width).path == path
    assert entries_path(number, width) == path.replace(f"tile/{level}", "tile/entries")


@pytest.mark.parametrize("tile", [(-1, 0, 256), (64, 0, 256), (0, -1, 256), (0, 0, 0), (0, 0, 257)])
def test_a_tile_that_cannot_be_has_no_path(tile: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="tile"):
        tile_path(*tile)


def test_the_example_of_the_format() -> None:
    """273 full tiles of leaves and one of 112; above them a full one and one of 17; on top one hash."""
    tiles = list(tiles_of(0, SIZE))
    assert tiles[:273] == [Tile(0, number) for number in range(273)]
    assert tiles[273:] == [Tile(0, 273, 112), Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles_of(0, 256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0, 0)) == list(tiles_of(SIZE, SIZE)) == []


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=6).map(sorted))
def test_growing_in_steps_makes_each_tile_once_and_ends_with_all(sizes: list[int]) -> None:
    made = [tile for old, size in zip([0, *sizes], sizes, strict=False) for tile in tiles_of(old, size)]
    assert len(made) == len(set(made))  # what is written create-only is never written twice
    widest = {(tile.level, tile.number): tile for tile in made}  # a later one is wider
    assert set(widest.values()) == set(tiles_of(0, sizes[-1]))


def test_a_log_does_not_shrink() -> None:
    with pytest.raises(ValueError, match="cannot have grown"):
        list(tiles_of(6, 5))


@given(st.lists(st.binary(max_size=600), max_size=20))
def test_entries_come_back_as_they_were(bodies: list[bytes]) -> None:
    assert decode_entries(encode_entries(bodies)) == bodies


@pytest.mark.parametrize("data", [b"\0", b"\0\3ab", b"\0\1a\0", b"\0\1a\0\2b"])
def test_a_bundle_that_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="cut off"):
        decode_entries(data)


def test_the_longest_entry_fits_and_a_longer_one_is_refused() -> None:
    assert decode_entries(encode_entries([b"x" * 65_535])) == [b"x" * 65_535]
    with pytest.raises(ValueError, match="entry 1 has 65536 bytes"):
        encode_entries([b"", b"x" * 65_536])


def lay(folder: Path, old: int, size: int) -> Callable[[str], bytes]:
    """What an anchor does: write the tiles that are new, and the bodies; then read by path."""
    for tile in tiles_of(old, size):
        write(folder / tile.path, b"".join(in_memory(tile.level, tile.number)[: tile.width]))
        if tile.level == 0:
            first = tile.number * 256
            write(
                folder / entries_path(tile.number, tile.width),
                encode_entries(BODIES[first : first + tile.width]),
            )
    return reader(folder)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # create-only
        file.write(data)


def reader(folder: Path) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        try:
            return (folder / path).read_bytes()
        except FileNotFoundError:
            raise ObjectMissing(f"{path} is not there") from None

    return read


def test_a_stranger_reads_our_tiles_entries_and_checkpoint(tmp_path: Path) -> None:
    signer = Ed25519Signer.generate(ORIGIN)
    lay(tmp_path, 0, 1000)
    lay(tmp_path, 1000, SIZE)
    note = checkpoints.sign(Checkpoint(ORIGIN, SIZE, root(HASHES)), [signer])
    (tmp_path / "checkpoint").write_text(note, encoding="utf-8")
    stranger = TilesReader(LocalBackend(tmp_path))
    found = stranger.get_checkpoint()
    found.verify(Vkey.from_string(signer.verifier.vkey()))
    assert (found.origin, found.size) == (ORIGIN, SIZE)
    assert stranger.calculate_root_hash() == found.root_hash
    for index in (0, 255, 256, 69_887, 69_888, SIZE - 1):
        assert stranger.get_entry(index) == BODIES[index]
        theirs = stranger.get_inclusion_proof(index, SIZE)
        theirs.check(HASHES[index], found.root_hash)
        assert theirs.node_hashes == inclusion_proof(index, SIZE, TREE.subtree)
    for old in (1, 256, 1000, 65_536, 69_999):
        ours = consistency_proof(old, SIZE, TREE.subtree)
        assert stranger.get_consistency_proof(old, SIZE).node_hashes == ours
        ConsistencyProof(old, SIZE, ours).check(root(HASHES[:old]), found.root_hash)


@pytest.mark.parametrize("gone", [False, True])
def test_we_read_a_strangers_tiles(tmp_path: Path, gone: bool) -> None:
    """Its writer drops partial tiles when full ones are there; then the full one serves the smaller tree."""
    key = PlainEd25519Signer("stranger", bytes(range(32)))
    writer = TilesWriter.create(tmp_path / "log", "stranger")
    for size in (300, 600):
        for body in BODIES[writer.size : size]:
            writer.add_leaf(body)
        writer.commit([key], gc=gone)
    read = reader(tmp_path / "log")
    for size in (300, 600):
        tree = SubtreeFromTiles(read, size)
        assert frontier_of(size, tree.subtree).root() == root(HASHES[:size])
        for index in (0, 255, size - 1):
            proof = inclusion_proof(index, size, tree.subtree)
            assert verify_inclusion(HASHES[index], index, size, proof, root(HASHES[:size]))
        if not gone:
            bundle = decode_entries(read(entries_path(size // 256, size % 256)))
            assert bundle == BODIES[size // 256 * 256 : size]


@settings(deadline=None)  # up to 65,536 hashes in one example
@given(st.integers(1, SIZE), st.data())
def test_every_subtree_is_the_root_over_its_leaves(size: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, size.bit_length() - 1))
    n = data.draw(st.integers(0, (size >> level) - 1))
    assert TREE.subtree(level, n) == root(HASHES[n << level : (n + 1) << level])


def test_tiles_are_read_once_for_many_proofs(tmp_path: Path) -> None:
    read: list[str] = []
    there = lay(tmp_path, 0, SIZE)

    def counting(path: str) -> bytes:
        read.append(path)
        return there(path)

    tree = SubtreeFromTiles(counting, SIZE)
    for index in range(SIZE - 200, SIZE):
        inclusion_proof(index, SIZE, tree.subtree)
    assert sorted(read) == sorted(set(read))
    assert len(read) <= 6


def test_a_tree_does_not_reach_beyond_its_tiles(tmp_path: Path) -> None:
    tree = SubtreeFromTiles(lay(tmp_path, 0, 300), 300)
    assert tree.subtree(0, 299) == HASHES[299]
    for level, n in ((0, 300), (1, 150), (8, 1), (9, 0), (16, 0)):
        with pytest.raises(IntegrityError, match="audit verify"):
            tree.subtree(level, n)


def test_a_tile_that_grew_is_read_again() -> None:
    kept = HASHES[:3]
    tree = TiledSubtrees(lambda level, number: list(kept) if (level, number) == (0, 0) else [])
    assert tree.subtree(1, 0) == root(HASHES[:2])
    kept.append(HASHES[3])
    assert tree.subtree(1, 1) == root(HASHES[2:4])


@pytest.mark.parametrize("change", [lambda data: data[:-32], lambda data: data + b"x", lambda data: b""])
def test_a_tile_of_another_length_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    there = lay(tmp_path, 0, 300)
    tree = SubtreeFromTiles(lambda path: change(there(path)), 300)
    with pytest.raises(IntegrityError, match=r"tile/0/001\.p/44 has .* bytes, not the 1408"):
        tree.subtree(0, 299)


def test_a_tile_that_is_not_there_says_which(tmp_path: Path) -> None:
    there = lay(tmp_path, 0, 300)
    (tmp_path / "tile/0/000").unlink()
    with pytest.raises(ObjectMissing, match="tile/0/000"):
        SubtreeFromTiles(there, 300).subtree(0, 0)


def test_a_changed_tile_gives_a_proof_that_does_not_verify(tmp_path: Path) -> None:
    there = lay(tmp_path, 0, 300)
    path = tmp_path / "tile/0/000"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    proof = inclusion_proof(0, 300, SubtreeFromTiles(there, 300).subtree)
    assert not verify_inclusion(HASHES[0], 0, 300, proof, root(HASHES[:300]))

"""The tree in tiles is the tree: the same frontier, root and nodes as leaf by leaf, however it is cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.audit.merkle import EMPTY, Frontier, root
from fwd2bot_core.errors import IntegrityError
from infra.audit_growth import Tree
from infra.installation import Installation
from infra.tables import audit_nodes
from tests.tasks.audit_logs import anchored, execute

LEAVES = [hashlib.sha256(str(number).encode()).digest() for number in range(66_000)]


def edge(size: int) -> Frontier:
    frontier = Frontier.empty()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)
    return frontier


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 513, 4097, 65_535, 65_536, 66_000])
@pytest.mark.parametrize("step", [97, 256, 70_000])
def test_it_is_the_same_tree_however_it_grew(size: int, step: int) -> None:
    tree = Tree(0, [])
    nodes = {}
    for start in range(0, size, step):
        nodes |= {node[:2]: node[2] for node in tree.add(LEAVES[start : min(start + step, size)])}
    assert tree.frontier() == edge(size)
    assert tree.root() == edge(size).root()
    assert nodes.keys() == {(level, n) for level in (1, 2) for n in range(size // 256**level)}
    for level, number in [*nodes][:3] + [*nodes][-2:]:
        under = 256**level
        assert nodes[level, number] == root(LEAVES[number * under : (number + 1) * under])


def test_leaf_by_leaf_it_is_the_logs_at_every_size_and_goes_on_from_what_it_holds() -> None:
    tree = Tree(0, [])
    for size, leaf in enumerate(LEAVES[:600], 1):
        tree.add([leaf])
        if size in (1, 2, 255, 256, 257, 511, 600):
            assert tree.frontier().root() == root(LEAVES[:size])
            assert Tree(tree.size, tree.open).frontier() == tree.frontier()
            tree = Tree(tree.size, [list(row) for row in tree.open])


def test_an_empty_tree_has_the_empty_root() -> None:
    assert Tree(0, []).root() == EMPTY


def test_a_stored_tree_goes_on(house: Callable[..., Installation], tmp_path: Path) -> None:
    log = anchored(house, tmp_path)
    with log.ledger.read() as connection:
        for size in (0, 1, 256, 300, 512, 600):
            tree = Tree.stored(connection, size)
            assert (tree.size, len(tree.frontier().peaks)) == (size, size.bit_count())
        whole = Tree.stored(connection, 600)
        part = Tree.stored(connection, 300)
    execute(log, audit_nodes.delete())
    with log.ledger.read() as connection, pytest.raises(IntegrityError, match="no node"):
        Tree.stored(connection, 600)
    assert part.root() != whole.root()

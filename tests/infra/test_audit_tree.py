"""The tree in the database is the tree over the events, and a proof from it reads few rows, whatever the log's size."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import (
    EMPTY,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from fwd2bot_core.audit.tiles import tiles_of
from fwd2bot_core.errors import IntegrityError
from infra import audit_log, audit_tree
from infra.audit_tree import SqlTree, prove_consistency, prove_event, root_at
from infra.database import Ledger, open_ledger
from infra.tables import audit_events, audit_nodes

MILLION = 1_000_000
SIZES = [0, 1, 2, 3, 255, 256, 257, 511, 512, 600]


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


def event() -> Event:
    return Event(type="test", occurred_at=audit_log.now(), actor=Actor("ref", "operator"))


def store(connection: sa.Connection, leaves: dict[int, bytes]) -> None:
    """Events by number, that have a hash and no sensible body."""
    rows = [
        {
            "seq": seq,
            "event_id": str(seq),
            "type": "test",
            "occurred_at": datetime(2026, 11, 24, tzinfo=UTC),
            "body": b"",
            "leaf": leaf,
        }
        for seq, leaf in leaves.items()
    ]
    connection.execute(audit_events.insert(), rows)


def test_roots_and_proofs_of_a_log_that_grew_in_transactions(ledger: Ledger) -> None:
    """Every size that the log had has its root, and each is proven to begin the next one."""
    while_small = random.Random(1)
    size = 0
    while size < SIZES[-1]:
        count = min(while_small.choice([1, 2, 50, 300]), SIZES[-1] - size)
        with ledger.write() as connection:
            audit_log.append_all(connection, [event() for _ in range(count)])
        size += count
    with ledger.read() as connection:
        stored = connection.execute(sa.select(audit_events.c.body).order_by(audit_events.c.seq)).scalars()
        leaves = [leaf_hash(body) for body in stored]
        for size in SIZES:
            assert root_at(connection, size) == root(leaves[:size])
            for old in [old for old in SIZES if old <= size]:
                proof = prove_consistency(connection, old, size)
                assert verify_consistency(old, root(leaves[:old]), size, root(leaves[:size]), proof)
            for seq in {0, size // 3, size - 1} if size else ():
                proof = prove_event(connection, seq, size)
                assert verify_inclusion(leaves[seq], seq, size, proof, root(leaves[:size]))


def test_a_tree_goes_on_while_its_transaction_appends(ledger: Ledger) -> None:
    with ledger.write() as connection:
        tree = SqlTree(connection)
        audit_log.append_all(connection, [event() for _ in range(3)])
        assert tree.subtree(1, 0) == root(tree.leaves(0, 2))
        audit_log.append_all(connection, [event() for _ in range(300)])
        assert tree.subtree(1, 1) == root(tree.leaves(2, 4))
        assert tree.subtree(8, 0) == root(tree.leaves(0, 256))


def test_tiles_are_the_stored_hashes(ledger: Ledger) -> None:
    with ledger.write() as connection:
        audit_log.append_all(connection, [event() for _ in range(600)])
        tree = SqlTree(connection)
        leaves = list(tree.leaves(0, 600))
        tiles = {tile: tree.tile(*tile) for tile in tiles_of(0, 600)}
    assert {tile.path: len(data) // 32 for tile, data in tiles.items()} == {
        "tile/0/000": 256,
        "tile/0/001": 256,
        "tile/0/002.p/88": 88,
        "tile/1/000.p/2": 2,
    }
    assert b"".join(data for tile, data in tiles.items() if tile.level == 0) == b"".join(leaves)
    upper = next(data for tile, data in tiles.items() if tile.level == 1)
    assert upper == root(leaves[:256]) + root(leaves[256:512])


def test_an_empty_log(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert root_at(connection, 0) == EMPTY
        assert prove_consistency(connection, 0, 0) == []
        with pytest.raises(ValueError, match="no leaf 0"):
            prove_event(connection, 0, 0)
        with pytest.raises(IntegrityError, match="audit verify"):
            root_at(connection, 1)


@pytest.fixture(scope="module")
def levels() -> list[list[bytes]]:
    """A tree over a million leaves, level by level."""
    levels = [[number.to_bytes(32) for number in range(MILLION)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)])
    return levels


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement of the tree returned."""
    read: list[int] = []
    real = audit_tree._hashes

    def counting(*args: object) -> list[bytes]:
        hashes = real(*args)  # type: ignore[arg-type]
        read.append(len(hashes))
        return hashes

    monkeypatch.setattr(audit_tree, "_hashes", counting)
    return read


def test_a_proof_in_a_log_of_a_million_reads_a_few_hundred_rows(
    ledger: Ledger, levels: list[list[bytes]], rows_read: list[int]
) -> None:
    """Only the leaves around the proven events are there at all: whoever reads others misses them."""
    events, old = (0, 777_777, MILLION - 1), 654_321
    near = {number for at in (*events, old) for number in range(at // 256 * 256, at // 256 * 256 + 256)}
    with ledger.write() as connection:
        store(connection, {seq: levels[0][seq] for seq in sorted(near) if seq < MILLION})
        nodes = [
            {"level": level, "number": number, "hash": digest}
            for level in (1, 2)
            for number, digest in enumerate(levels[8 * level])
        ]
        connection.execute(audit_nodes.insert(), nodes)
        before = root_at(connection, MILLION)
        assert before == root(levels[0])
        assert (len(rows_read), sum(rows_read)) <= (3, 300)
        for seq in events:
            rows_read.clear()
            proof = prove_event(connection, seq, MILLION)
            assert verify_inclusion(levels[0][seq], seq, MILLION, proof, before)
            assert len(rows_read) <= 5
            assert sum(rows_read) <= 700
        rows_read.clear()
        proof = prove_consistency(connection, old, MILLION)
        assert verify_consistency(old, root(levels[0][:old]), MILLION, before, proof)
        assert sum(rows_read) <= 900


@pytest.mark.parametrize("missing", [0, 100, 199])
def test_an_event_that_is_missing_is_noticed_and_not_slid_over(ledger: Ledger, missing: int) -> None:
    """A hash must never stand for another event because a row before it is gone."""
    leaves = [bytes([seq]) * 32 for seq in range(200)]
    with ledger.write() as connection:
        store(connection, {seq: leaf for seq, leaf in enumerate(leaves) if seq != missing})
        tree = SqlTree(connection)
        for needs in (
            lambda: list(tree.leaves(0, 200)),
            lambda: tree.tile(0, 0, missing + 1),
            lambda: tree.subtree(0, missing),
            lambda: root_at(connection, 200),
        ):
            with pytest.raises(IntegrityError, match="audit verify"):
                needs()
        with pytest.raises(IntegrityError, match=f"no event {missing};"):
            list(tree.leaves(0, 200))
        assert list(tree.leaves(missing + 1, 200)) == leaves[missing + 1 :]
        assert root_at(connection, missing) == root(leaves[:missing])


def test_a_node_that_is_missing_is_named(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(audit_nodes.insert(), {"level": 1, "number": 1, "hash": bytes(32)})
        with pytest.raises(IntegrityError, match="no node 0 of level 1;"):
            SqlTree(connection).tile(1, 0, 2)


def test_leaves_come_in_pages(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rows_read: list[int]) -> None:
    monkeypatch.setattr(audit_tree, "_PAGE", 64)
    leaves = [bytes([seq % 256]) * 32 for seq in range(300)]
    with ledger.write() as connection:
        store(connection, dict(enumerate(leaves)))
        assert list(SqlTree(connection).leaves(10, 290)) == leaves[10:290]
        assert rows_read == [64, 64, 64, 64, 24]
        assert list(SqlTree(connection).leaves(5, 5)) == []

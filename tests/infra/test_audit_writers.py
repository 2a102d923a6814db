"""Many processes append to one log and are killed at any moment; what is left is one whole log without a fork."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import EMPTY, Frontier, leaf_hash, root
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.tables import audit_events, audit_head, audit_nodes

NODE = 256
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
WRITERS, KILLS, EVENTS = 8, 16, 1000
PATIENCE = 60.0  # seconds; a quiet machine is done after a few


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


def event(type: str = "t") -> Event:
    return Event(type=type, occurred_at=AT, actor=Actor("a", "r"), software="s")


def write_until_killed(url: str, receipts: Path) -> None:
    """Transactions of one or two appends, some given up; each that is committed is noted, after that, in a file."""
    ledger = open_ledger(url)
    chance = random.Random()
    with receipts.open("a", buffering=1) as noted:
        while True:
            made = [
                [event() for _ in range(chance.choice((1, 1, 2, 40)))] for _ in range(chance.randint(1, 2))
            ]
            with ledger.write() as connection:
                firsts = [audit_log.append_all(connection, events) for events in made]
                if chance.random() < 0.1:
                    connection.rollback()
                    continue
            for first, events in zip(firsts, made, strict=True):
                noted.write("".join(f"{first + n} {one.event_id}\n" for n, one in enumerate(events)))


@dataclass
class Watcher:
    """Somebody who remembers each size of the log that he saw, with its root."""

    ledger: Ledger
    roots: dict[int, bytes] = field(default_factory=dict)

    def look(self) -> int:
        """The log's size now; what is there is whole."""
        with self.ledger.read() as connection:
            head = connection.execute(sa.select(audit_head)).one()
            count, last = connection.execute(
                sa.select(sa.func.count(), sa.func.max(audit_events.c.seq))
            ).one()
        assert count == head.size == (0 if last is None else last + 1)
        seen = Frontier.load(head.size, head.frontier).root()
        assert self.roots.setdefault(head.size, seen) == seen
        assert head.size == max(self.roots), "the log shrank"
        return int(head.size)


def assert_whole(ledger: Ledger) -> list[bytes]:
    """The log's leaf hashes, after all of it was computed again from the bodies: numbers, leaves, nodes, frontier."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(audit_events).order_by(audit_events.c.seq)).all()
        stored = connection.execute(sa.select(audit_nodes)).all()
        head = connection.execute(sa.select(audit_head)).one()
    leaves = [leaf_hash(row.body) for row in rows]
    assert [row.leaf for row in rows] == leaves
    said = [parse(row.body) for row in rows]
    assert [row.seq for row in rows] == [body["seq"] for body in said] == list(range(head.size))
    assert [row.event_id for row in rows] == [body["event_id"] for body in said]
    assert {(row.level, row.number): row.hash for row in stored} == nodes_over(leaves)
    assert Frontier.load(head.size, head.frontier).root() == root(leaves)
    return leaves


def nodes_over(leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """Level and number of each complete node, and its hash, by the definition."""
    found: dict[tuple[int, int], bytes] = {}
    level, below = 1, list(leaves)
    while len(below) >= NODE:
        below = [root(below[first : first + NODE]) for first in range(0, len(below) // NODE * NODE, NODE)]
        found |= {(level, number): hash for number, hash in enumerate(below)}
        level += 1
    return found


def roots_of(leaves: Sequence[bytes]) -> list[bytes]:
    """The root at every size from 0."""
    growing, found = Frontier.empty(), [EMPTY]
    for leaf in leaves:
        growing.append(leaf)
        found.append(growing.root())
    return found


@pytest.mark.slow
def test_eight_writers_killed_at_random_leave_one_whole_log(
    ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    forks = multiprocessing.get_context("forkserver")  # a new writer in milliseconds
    forks.set_forkserver_preload([__name__])
    chance, watcher = random.Random(os.urandom(8)), Watcher(ledger)
    names = (tmp_path / f"receipts-{number}" for number in range(WRITERS + KILLS))

    def start() -> BaseProcess:
        process = forks.Process(target=write_until_killed, args=(ledger_url, next(names)), daemon=True)
        process.start()
        return process

    writers = [start() for _ in range(WRITERS)]
    deadline, kills = time.monotonic() + PATIENCE, 0
    try:
        while kills < KILLS or watcher.look() < EVENTS:
            assert time.monotonic() < deadline, f"{kills} kills, {max(watcher.roots)} events"
            time.sleep(chance.uniform(0.01, 0.15))
            watcher.look()
            if kills < KILLS and watcher.look() > kills * EVENTS // KILLS:
                kill(writers, chance.randrange(WRITERS), start())
                kills += 1
    finally:
        for number in range(WRITERS):
            kill(writers, number, None)
    leaves = assert_whole(ledger)
    roots = roots_of(leaves)
    assert len(watcher.roots) > KILLS
    assert [size for size, seen in watcher.roots.items() if roots[size] != seen] == []
    assert_kept(ledger, tmp_path)


def kill(writers: list[BaseProcess], number: int, next_one: BaseProcess | None) -> None:
    """SIGKILL, wherever it stands; another one takes its place."""
    gone = writers[number]
    gone.kill()
    gone.join()
    assert gone.exitcode == -9, "a writer ended by itself"
    if next_one is not None:
        writers[number] = next_one


def assert_kept(ledger: Ledger, folder: Path) -> None:
    """Nothing that a writer was told is committed has gone. A receipt's last line may be cut off."""
    with ledger.read() as connection:
        there = {row.seq: row.event_id for row in connection.execute(sa.select(audit_events))}
    lines = [line for file in folder.glob("receipts-*") for line in file.read_text().split("\n")[:-1]]
    receipts = [line.split() for line in lines]
    assert len(receipts) > EVENTS // 2
    assert [seq for seq, event_id in receipts if there[int(seq)] != event_id] == []
    with ledger.write() as connection:  # nobody who died holds the head
        assert audit_log.append(connection, event()) == len(there)


@pytest.mark.slow
def test_nodes_are_right_at_the_borders_of_256_and_65_536(ledger: Ledger) -> None:
    """One transaction that ends before a border, on it, behind it, and one that jumps over many."""
    size = 0
    for until in (255, 256, 257, 511, 513, 1024, 65_535, 65_536, 65_537, 65_792):
        events = [event() for _ in range(until - size)]
        with ledger.write() as connection:
            assert audit_log.append_all(connection, events) == size
            count = sa.select(sa.func.count()).select_from(audit_nodes)
            assert connection.execute(count).scalar_one() == until // NODE + until // NODE**2
        size = until
    leaves = assert_whole(ledger)
    assert len(nodes_over(leaves)) == 257 + 1

"""Figures of what is kept and saved, on both databases: the same as the ledger's rows say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from infra.installation import Installation
from infra.tables import object_versions, shards
from tasks import kpi
from tests.houses import COLLECTION, night


def test_what_is_kept_and_saved(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> None:
    sizes = [file.stat().st_size for file in photos(4)]
    made = house(archive={"ledger": ledger_url})
    night(made)
    with made.ledger.read() as connection:
        tokens = int(connection.execute(sa.select(sa.func.sum(shards.c.bytes))).scalar_one())
        found = kpi.holdings(connection)
        assert kpi.holdings(connection, COLLECTION) == found
        assert kpi.holdings(connection, "none").images == 0
    assert (found.originals, found.original_bytes, found.images) == (4, sum(sizes), 4)
    assert found.token_bytes == tokens
    assert found.net_saved_bytes == -tokens  # nothing is destroyed, so nothing is saved
    assert found.ratio == sum(sizes) / tokens


def test_what_is_destroyed_is_freed_and_what_is_older_is_not_counted_twice(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> None:
    sizes = [file.stat().st_size for file in photos(3)]
    made = house(archive={"ledger": ledger_url})
    night(made)
    with made.ledger.write() as connection:
        numbers = list(connection.execute(sa.select(object_versions.c.id).order_by("key")).scalars())
        gone = object_versions.update().where(object_versions.c.id == numbers[0])
        connection.execute(gone.values(destroyed_seq=1))
        older = object_versions.update().where(object_versions.c.id == numbers[1])
        connection.execute(older.values(superseded_at=datetime(2026, 1, 1, tzinfo=UTC)))
    with made.ledger.read() as connection:
        found = kpi.holdings(connection)
    assert (found.originals, found.destroyed) == (1, 1)
    assert found.freed_bytes == sizes[0]
    assert found.original_bytes == sizes[2]


def test_months_are_utcs_and_sum_up(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> None:
    sizes = [file.stat().st_size for file in photos(2)]
    made = house(archive={"ledger": ledger_url})
    night(made)
    times = datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    with made.ledger.write() as connection:
        numbers = list(connection.execute(sa.select(object_versions.c.id).order_by("key")).scalars())
        for number, at in zip(numbers, times, strict=True):
            mine = object_versions.c.id == number
            connection.execute(object_versions.update().where(mine).values(first_seen_at=at))
        connection.execute(shards.update().values(committed_at=times[1]))
    with made.ledger.read() as connection:
        january, february = kpi.months(connection, COLLECTION)
    assert (january.name, january.originals, january.images) == ("2026-01", 1, 0)
    assert (february.name, february.originals, february.images) == ("2026-02", 1, 2)
    assert january.held_original_bytes == sizes[0]
    assert february.held_original_bytes == sum(sizes)
    assert february.held_token_bytes == february.token_bytes > 0

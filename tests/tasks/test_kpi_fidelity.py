"""Drift: found when it is there, not found in noise, and never guessed from too little."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa

from infra.installation import Installation
from infra.tables import shards, summaries
from tasks.kpi_fidelity import BEFORE, ENOUGH, RECENT, trends
from tests.houses import COLLECTION, night

NIGHTS, A_NIGHT = 12, 5


def nights(
    house: Callable[..., Installation],
    photos: Callable[..., list[Path]],
    ledger: str,
    score: Callable[[int], float],
) -> Installation:
    """Twelve shards of five images, one a night, whose fidelity ``score(night)`` says."""
    photos(NIGHTS * A_NIGHT)
    made = house(archive={"ledger": ledger}, night={"batch_size": A_NIGHT, "smallest_batch": A_NIGHT})
    night(made)
    with made.ledger.write() as connection:
        for number, shard in enumerate(
            connection.execute(sa.select(shards.c.id).order_by("id")).scalars().all()
        ):
            connection.execute(
                shards.update().where(shards.c.id == shard).values(night=date(2026, 1, 1) + timedelta(number))
            )
            mine = sa.select(summaries.c.object_version_id).where(summaries.c.shard_id == shard)
            for image in connection.execute(mine).scalars().all():
                changed = summaries.update().where(summaries.c.object_version_id == image)
                connection.execute(changed.values(fidelity=score(number)))
    return made


def test_a_fall_is_a_drift_and_noise_is_none(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> None:
    chance = random.Random(3)
    made = nights(house, photos, ledger_url, lambda n: chance.uniform(0.94, 1.0) - (0.1 if n >= 5 else 0))
    with made.ledger.read() as connection:
        (found,) = trends(connection, COLLECTION)
        assert trends(connection, "none") == []
    assert found.drifts
    assert (found.recent_images, found.before_images) == (RECENT * A_NIGHT, 5 * A_NIGHT)
    assert found.message.startswith(f"fidelity of {COLLECTION} fell from 0.9")
    with made.ledger.write() as connection:
        connection.execute(summaries.update().values(fidelity=summaries.c.object_version_id % 7 / 100 + 0.9))
    with made.ledger.read() as connection:
        assert [one.drifts for one in trends(connection)] == [False]


def test_too_few_images_are_never_compared(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    made = nights(house, photos, f"{tmp_path}/ledger.sqlite", lambda n: 1.0 if n < 5 else 0.1)
    first = sa.select(shards.c.id).order_by("id").limit(2)
    with made.ledger.write() as connection:
        connection.execute(summaries.update().where(summaries.c.shard_id.in_(first)).values(fidelity=None))
    with made.ledger.read() as connection:
        (found,) = trends(connection)
    assert found.before_images == 15 < ENOUGH < BEFORE
    assert (found.fall, found.drifts) == (None, False)

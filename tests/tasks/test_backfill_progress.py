"""How far it is, how long it may take, and whether the ledger says everything in one way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.installation import Installation
from infra.tables import object_versions, summaries, work
from tasks import backfills
from tasks.backfill_progress import discrepancies, forecast, progress
from tests.houses import night
from tests.tasks.backfill_steps import started, worked

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
MORNING = datetime(2026, 3, 1, 6, tzinfo=UTC)


def after(*seconds: float) -> list[tuple[datetime, datetime, int]]:
    """Batches of ten images of one run, ended so many seconds after its beginning."""
    return [(MORNING, MORNING + timedelta(seconds=each), 10) for each in seconds]


def test_nothing_is_foretold_before_there_was_some_work() -> None:
    assert forecast([], 100) is None
    assert forecast(after(1, 2), 100) is None


def test_an_even_pace_leaves_no_doubt() -> None:
    told = forecast(after(10, 20, 30, 40), 50)
    assert told is not None
    assert (told.likely, told.shortest, told.longest, told.stretches) == (50, 50, 50, 4)


def test_an_uneven_pace_shows_as_a_spread() -> None:
    told = forecast(after(5, 10, 30, 50), 40)
    assert told is not None
    assert told.shortest < told.likely == 50 < told.longest


def test_the_time_between_two_runs_is_no_work() -> None:
    later = MORNING + timedelta(days=1)
    second = [(later, later + timedelta(seconds=each), 10) for each in (10, 20)]
    told = forecast([*after(10, 20), *second], 40)
    assert told is not None
    assert told.likely == 40


def test_every_image_is_compressed_rejected_or_left(
    house: BuildHouse, photos: Photos, ledger_url: str
) -> None:
    made = photos(20)
    made[3].write_bytes(b"broken")
    made[7].write_bytes(b"")
    installation = house(archive={"ledger": ledger_url}, night={"batch_size": 5, "smallest_batch": 5})
    backfill = started(installation, max_images=10)
    seen = progress(installation.ledger, backfill)
    assert (seen.images, seen.left, seen.share, seen.state) == (20, 20, 0, "active")
    worked(installation, backfill)
    seen = progress(installation.ledger, backfill)
    assert (seen.compressed + seen.rejected, seen.left, seen.share) == (10, 10, 0.5)
    assert seen.to_dict()["used"]["images"] == 10
    worked(
        installation, backfills.allow(installation, backfill, backfills.Budget(max_images=20), zoned=False)
    )
    seen = progress(installation.ledger, backfill)
    assert (seen.compressed, seen.rejected, seen.left) == (18, 2, 0)
    assert seen.reasons == {"empty": 1, "not_an_image": 1}
    assert seen.by_others == 0


def test_what_a_night_did_first_is_said(house: BuildHouse, photos: Photos) -> None:
    photos(4)
    installation = house()
    night(installation)
    photos(2, start=4)
    backfill = started(installation)
    outcome = worked(installation, backfill)
    seen = progress(installation.ledger, outcome.backfill)
    assert (seen.images, seen.compressed, seen.by_others, seen.left) == (6, 6, 4, 0)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            summaries.delete().where(summaries.c.object_version_id == 2),
            "said to be compressed, without tokens",
        ),
        (
            work.update().where(work.c.object_version_id == 2).values(state="failed", reason="empty"),
            "with tokens, and not said to be compressed",
        ),
        (sa.text("DELETE FROM backfill_items WHERE object_version_id = 2"), "more or fewer images"),
    ],
)
def test_a_ledger_that_does_not_agree_with_itself(
    house: BuildHouse, photos: Photos, harm: sa.Executable, said: str
) -> None:
    photos(3)
    installation = house()
    outcome = worked(installation, started(installation))
    assert discrepancies(installation.ledger, outcome.backfill) == []
    with installation.ledger.write() as connection:
        assert connection.execute(sa.select(object_versions.c.id)).first() is not None
        connection.execute(harm)
    (found,) = discrepancies(installation.ledger, outcome.backfill)
    assert found.what.startswith(said)
    assert found.images == 1

"""What is taken on, what is not, and why it stands still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra import audit_log
from infra.backfill_tables import BackfillState
from infra.installation import Installation
from infra.tables import BatchState, batches, work
from tasks import backfill_work, backfills, runs
from tasks.backfill_work import release, standstill, take_on, used, waiting
from tasks.backfills import Backfill
from tasks.plan import BACKFILL
from tasks.runs import Run
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.backfill_steps import started, worked
from tests.tasks.steps import committed, count, die_with_the_process, events, planned, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def turn(house: Installation, backfill: Backfill) -> Run:
    run = runs.begin(house, COLLECTION, BACKFILL, slot=backfills.slot(COLLECTION))
    backfills.join(house.ledger, run, backfill)
    return run


def test_batches_are_taken_on_in_their_order_as_far_as_images_last(
    house: BuildHouse, photos: Photos, ledger_url: str
) -> None:
    photos(25)
    installation = house(archive={"ledger": ledger_url}, night={"batch_size": 5, "smallest_batch": 5})
    backfill = started(installation, max_images=13)
    run = turn(installation, backfill)
    assert take_on(installation.ledger, run, backfill) == 2  # a third one would be two images too many
    assert take_on(installation.ledger, run, backfill) == 0  # those under way count
    assert waiting(installation.ledger, backfill) == 5
    assert waiting(installation.ledger, backfill, of=run) == 2
    die_with_the_process(installation)
    again = turn(installation, backfill)
    assert take_on(installation.ledger, again, backfill) == 2
    assert waiting(installation.ledger, backfill, of=run) == 0


def test_bytes_are_counted_as_listed(house: BuildHouse, photos: Photos) -> None:
    size = sum(path.stat().st_size for path in photos(10))
    installation = house(night={"batch_size": 5, "smallest_batch": 5})
    outcome = worked(installation, started(installation, max_bytes=size - 1))
    assert outcome.turn is not None
    assert outcome.turn.compressed == 5
    assert "does not allow for another batch" in outcome.why
    backfill = backfills.allow(installation, outcome.backfill, backfills.Budget(max_bytes=size), zoned=False)
    assert worked(installation, backfill).backfill.state == BackfillState.DONE


def test_time_at_work_is_each_runs_and_not_the_time_between(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(4)
    installation = house(night={"batch_size": 2, "smallest_batch": 2})
    clock = [datetime(2026, 3, 1, tzinfo=UTC)]

    def tick() -> datetime:
        clock[0] += timedelta(seconds=1)
        return clock[0]

    monkeypatch.setattr(audit_log, "now", tick)
    backfill = started(installation, max_images=2)
    worked(installation, backfill)
    first = used(installation.ledger, backfill).seconds
    clock[0] += timedelta(hours=10)
    backfill = backfills.allow(installation, backfill, backfills.Budget(max_images=4), zoned=False)
    worked(installation, backfill)
    spent = used(installation.ledger, backfill)
    assert (spent.images, first < spent.seconds < 60) == (4, True)
    limited = backfills.allow(
        installation, started(installation), backfills.Budget(max_seconds=0.5), zoned=False
    )
    assert standstill(installation, limited) is None


def test_it_stands_still_while_any_night_works_and_no_longer(
    house: BuildHouse, photos: Photos, ledger_url: str
) -> None:
    photos(3)
    installation = house(archive={"ledger": ledger_url}, **{"collections.line-2": {"originals": "photos"}})
    backfill = started(installation)
    assert standstill(installation, backfill) is None
    other = runs.begin(installation, "line-2")
    found = standstill(installation, backfill)
    assert found is not None
    assert (found.why, found.passes) == ("a night works on line-2", True)
    die_with_the_process(installation)
    assert standstill(installation, backfill) is None
    assert other.kind == "night"


def test_it_keeps_its_hours(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = house()
    backfill = started(installation, hours="22:00-06:00", zone="Europe/Berlin")
    hours = {"at": datetime(2026, 3, 29, 3, 59, tzinfo=UTC)}  # 05:59 there, on the day that lacks an hour
    monkeypatch.setattr(backfill_work, "closed", lambda window, zone: closed_at(window, zone, hours["at"]))
    assert standstill(installation, backfill) is None
    hours["at"] += timedelta(minutes=1)
    found = standstill(installation, backfill)
    assert found is not None
    assert found.passes
    assert "22:00-06:00 Europe/Berlin, which opens at 2026-03-29 22:00" in found.why


def closed_at(window: str | None, zone: str, at: datetime) -> str | None:
    from tasks.window import closed

    return closed(window, zone, now=lambda: at)


def test_a_pause_is_heard(house: BuildHouse) -> None:
    installation = house()
    backfill = started(installation)
    backfills.tell(installation, backfill, BackfillState.PAUSED)
    found = standstill(installation, backfill)
    assert found is not None
    assert (found.why, found.passes) == ("paused", False)


def test_what_is_given_back_is_a_nights(house: BuildHouse, photos: Photos, ledger_url: str) -> None:
    photos(25)
    installation = house(archive={"ledger": ledger_url}, night={"batch_size": 5, "smallest_batch": 5})
    backfill = started(installation, max_images=10)
    worked(installation, backfill)
    run = turn(installation, backfill)
    assert release(installation.ledger, run, backfill) == 15
    assert count(installation, work) == 10
    assert {row.state for row in rows(installation, batches)} == {BatchState.COMMITTED, BatchState.RELEASED}
    (said,) = events(installation, "backfill.released")
    assert said["after"] == {"images": 15}
    assert night(installation).compressed == 15


def test_an_image_that_failed_before_is_failed_again(house: BuildHouse, photos: Photos) -> None:
    """A retry had taken it on; its claim, with what is known of it, is not forgotten with the batch."""
    photos(3)[1].write_bytes(b"broken")
    installation = house()
    backfill = started(installation)
    worked(installation, backfill)
    with installation.ledger.write() as connection:
        connection.execute(work.update().where(work.c.state == "failed").values(state="claimed"))
        connection.execute(batches.update().values(state=BatchState.PLANNED))
    run = turn(installation, backfill)
    assert release(installation.ledger, run, backfill) == 1
    assert sorted(row.state for row in rows(installation, work)) == ["compressed", "compressed", "failed"]


def test_a_night_resumes_no_batch_of_a_backfill(house: BuildHouse, photos: Photos) -> None:
    photos(10)
    installation = house()
    backfill = started(installation)
    run = turn(installation, backfill)
    take_on(installation.ledger, run, backfill)
    die_with_the_process(installation)
    (Path(installation.originals(COLLECTION).uri.removeprefix("file://")) / "new.jpg").write_bytes(
        tiny_jpeg(99)
    )
    night_run, plan, found = planned(installation)
    assert (plan.images, plan.resumed) == (1, 0)
    committed(installation, night_run, found)
    assert waiting(installation.ledger, backfill) == 1

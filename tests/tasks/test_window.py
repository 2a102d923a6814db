"""A run takes no new batch outside of its hours, finishes what it began, and says what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwd2bot_core.errors import ExitCode, SettingsError
from infra.installation import Installation
from infra.tables import BatchState, batches, summaries
from tasks.compress import compress
from tasks.window import closed, taking
from tests.houses import compressed_once, night
from tests.tasks.steps import Scripted, count, planned

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_without_a_window_something_may_always_be_taken() -> None:
    assert taking(None, "UTC")()
    assert closed(None, "UTC") is None


def test_it_is_asked_anew_each_time() -> None:
    hours = iter([NOON.replace(hour=5), NOON.replace(hour=6)])
    may_take = taking("22:00-06:00", "UTC", now=lambda: next(hours))
    assert [may_take(), may_take()] == [True, False]


def test_why_not_and_when_again() -> None:
    assert closed("22:00-06:00", "UTC", now=lambda: NOON) == (
        "outside of 22:00-06:00 UTC, which opens at 2026-11-25 22:00"
    )
    assert closed("10:00-14:00", "UTC", now=lambda: NOON) is None


def test_what_has_begun_is_finished_and_the_rest_stays_planned(house: BuildHouse, photos: Photos) -> None:
    photos(60)
    installation = house()
    run, _, _ = planned(installation)
    answers: Iterator[bool] = iter([True])
    compress(
        installation.ledger,
        installation.archive,
        run,
        Scripted(installation),
        taking=lambda: next(answers, False),
    )
    assert count(installation, summaries) == 20
    assert count(installation, batches, batches.c.state == BatchState.PLANNED) == 2


def test_a_batch_that_killed_its_worker_is_not_taken_apart_after_the_window(
    house: BuildHouse, photos: Photos
) -> None:
    photos(20)
    installation = house()
    run, _, _ = planned(installation)
    answers: Iterator[bool] = iter([True])
    executor = Scripted(installation, dies=lambda _: True)
    compress(installation.ledger, installation.archive, run, executor, taking=lambda: next(answers, False))
    assert executor.solo == []
    assert count(installation, batches, batches.c.state == BatchState.PLANNED) == 1


def test_a_night_that_begins_outside_of_its_hours_plans_and_says_what_is_left(
    house: BuildHouse, photos: Photos
) -> None:
    photos(40)
    shut = house(night={"window": _away_from_now()})
    summary = night(shut)
    assert (summary.compressed, summary.left, summary.exit_code) == (0, 40, ExitCode.PARTLY_FAILED)
    assert "40 left for the next night (outside of " in summary.message
    summary = night(house())
    assert (summary.compressed, summary.resumed_batches, summary.exit_code) == (40, 2, ExitCode.OK)
    assert compressed_once(shut) == 40


def test_a_window_that_is_none_is_a_wrong_setting(house: BuildHouse) -> None:
    with pytest.raises(SettingsError, match=r"night\.window: .* such as 22:00-06:00"):
        house(night={"window": "at night"})


def _away_from_now() -> str:
    """An hour that is over, or not come, while the test runs."""
    far = (datetime.now(UTC).hour + 12) % 24
    return f"{far:02}:00-{(far + 1) % 24:02}:00"

"""Driving batches whose workers die or break, down to the one image that kills them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import StoreUnreachable
from fwd2bot_core.work import Batch, Unit
from infra.executor import Broken, Outcome
from infra.installation import Installation
from infra.tables import BatchState, batches, failures, object_versions, summaries
from tasks.compress import compress
from tasks.runs import Run
from tasks.summary import count as count_run
from tests.houses import night
from tests.tasks.steps import Scripted, count, die_with_the_process, planned, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def drive(house: Installation, run: Run, executor: Scripted) -> int:
    """How many images were reported as done."""
    done: list[int] = []
    compress(house.ledger, house.archive, run, executor, progress=done.append)
    return sum(done)


def failed(house: Installation) -> list[tuple[str, str]]:
    query = sa.select(object_versions.c.key, failures.c.reason).join(
        failures, failures.c.object_version_id == object_versions.c.id
    )
    return [tuple(row) for row in rows(house, query)]


def test_one_poison_image_is_quarantined_alone(house: BuildHouse, photos: Photos) -> None:
    photos(60)
    installation = house()
    run, _, found = planned(installation)
    poison = found[1].units[13]
    executor = Scripted(installation, dies=lambda unit: unit == poison)
    assert drive(installation, run, executor) == 60
    assert failed(installation) == [(poison.key, "killed_worker")]
    assert count(installation, summaries) == 59
    assert executor.ran == [20, 20, 20]
    assert executor.solo == [20, 10, 10, 5, 2, 3, 1, 2, 1, 1, 5]  # halves of what died, left before right
    assert count(installation, batches, batches.c.state == BatchState.PLANNED) == 0


@pytest.mark.parametrize("poison", [{"0000.jpg"}, {"0019.jpg"}, {"0003.jpg", "0004.jpg", "0050.jpg"}])
def test_every_poison_image_is_found_wherever_it_stands(
    house: BuildHouse, photos: Photos, poison: set[str]
) -> None:
    photos(60)
    installation = house()
    run, _, _ = planned(installation)
    assert drive(installation, run, Scripted(installation, dies=lambda unit: unit.key in poison)) == 60
    assert sorted(failed(installation)) == [(key, "killed_worker") for key in sorted(poison)]
    assert count(installation, summaries) == 60 - len(poison)
    assert count_run(installation.ledger, run.id)["left"] == 0


def test_an_innocent_batch_whose_worker_died_by_chance_is_compressed_whole(
    house: BuildHouse, photos: Photos
) -> None:
    photos(20)
    installation = house()
    run, _, _ = planned(installation)
    lives = iter([True])  # kills once

    executor = Scripted(installation, dies=lambda unit: next(lives, False))
    drive(installation, run, executor)
    assert executor.solo == [20]
    assert count(installation, summaries) == 20
    assert failed(installation) == []


def test_splits_are_durable_so_that_the_next_night_goes_on_searching(
    house: BuildHouse, photos: Photos
) -> None:
    photos(16)
    installation = house()
    run, _, (batch,) = planned(installation)
    poison = batch.units[0]

    class Interrupted(Exception):
        """The driver dies here."""

    def dies(unit: Unit) -> bool:
        if count(installation, batches, batches.c.state == BatchState.SPLIT) == 2:
            raise Interrupted
        return unit == poison

    with pytest.raises(Interrupted):
        drive(installation, run, Scripted(installation, dies=dies))
    die_with_the_process(installation)
    run, plan, found = planned(installation)
    assert plan.images == 16
    assert sorted(len(batch.units) for batch in found) == [4, 4, 8]
    drive(installation, run, Scripted(installation, dies=lambda unit: unit == poison))
    assert failed(installation) == [(poison.key, "killed_worker")]
    assert count(installation, summaries) == 15


def broken(batch: Batch) -> Outcome:
    return Broken(batch, StoreUnreachable("the archive does not answer"))


def test_a_batch_that_breaks_twice_stays_planned_and_the_next_night_resumes_it(
    house: BuildHouse, photos: Photos
) -> None:
    photos(60)
    installation = house()
    run, _, found = planned(installation)
    bad = found[1].batch_id
    executor = Scripted(installation, outcome=lambda batch: broken(batch) if batch.batch_id == bad else None)
    assert drive(installation, run, executor) == 40
    assert executor.ran == [20, 20, 20, 20]
    said = count_run(installation.ledger, run.id)
    assert (said["compressed"], said["failed"], said["left"]) == (40, 0, 20)
    assert said["broken"] == ["StoreUnreachable: the archive does not answer"]
    die_with_the_process(installation)
    summary = night(installation)
    assert (summary.resumed_batches, summary.compressed, summary.left) == (1, 20, 0)


def test_a_batch_that_breaks_once_is_compressed_in_the_same_night(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house()
    run, _, _ = planned(installation)
    stumbles = iter([1])
    executor = Scripted(installation, outcome=lambda batch: broken(batch) if next(stumbles, None) else None)
    assert drive(installation, run, executor) == 20
    assert count_run(installation.ledger, run.id)["broken"] == []


def test_a_batch_that_breaks_while_alone_is_left_not_lost(house: BuildHouse, photos: Photos) -> None:
    photos(2)
    installation = house()
    run, _, _ = planned(installation)
    from infra.executor import Died

    script = iter([lambda batch: Died(batch, "lost"), broken])
    executor = Scripted(installation, outcome=lambda batch: next(script, lambda _: None)(batch))
    drive(installation, run, executor)
    said = count_run(installation.ledger, run.id)
    assert (said["compressed"], said["left"], len(said["broken"])) == (0, 2, 1)

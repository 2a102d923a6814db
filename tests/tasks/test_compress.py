"""Driving batches whose workers die or break, down to the one image that kills them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

import infra.worker
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Prepared, Summary
from fwd2bot_core.errors import ClusterError, ExitCode, StoreUnreachable
from fwd2bot_core.work import Batch, Unit
from infra.executor import Broken, Died, Outcome
from infra.installation import Installation
from infra.tables import BatchState, RunState, batches, failures, object_versions, summaries
from tasks.compress import compress
from tasks.runs import Run
from tasks.summary import count as count_run
from tests.core.compressor.pictures import saved
from tests.houses import night
from tests.tasks.steps import Scripted, count, die_with_the_process, planned, rows, use_compressor

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
    assert count_run(installation.ledger, run.id, 0.9)["left"] == 0


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
    said = count_run(installation.ledger, run.id, 0.9)
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
    assert count_run(installation.ledger, run.id, 0.9)["broken"] == []


def test_a_batch_that_breaks_while_alone_is_left_not_lost(house: BuildHouse, photos: Photos) -> None:
    photos(2)
    installation = house()
    run, _, _ = planned(installation)
    script = iter([lambda batch: Died(batch, "lost"), broken])
    executor = Scripted(installation, outcome=lambda batch: next(script, lambda _: None)(batch))
    drive(installation, run, executor)
    said = count_run(installation.ledger, run.id, 0.9)
    assert (said["compressed"], said["left"], len(said["broken"])) == (0, 2, 1)


def dies(batch: Batch) -> Outcome:
    return Died(batch, "out of memory")


def test_when_everything_dies_it_is_not_the_images(house: BuildHouse, photos: Photos) -> None:
    """A driver that fails, memory that is too small: going on would quarantine each image of the archive."""
    photos(30)
    installation = house(night={"batch_size": 1, "smallest_batch": 1})
    run, _, _ = planned(installation)
    executor = Scripted(installation, outcome=dies)
    with pytest.raises(ClusterError, match=r"21 batches in a row killed .* memory, driver .* out of memory"):
        drive(installation, run, executor)
    assert (len(executor.ran), executor.solo) == (21, [])
    assert failed(installation) == []
    assert count(installation, batches, batches.c.state == BatchState.PLANNED) == 30
    die_with_the_process(installation)
    assert night(installation).compressed == 30


def test_when_everything_dies_while_alone_only_what_stood_alone_is_quarantined(
    house: BuildHouse, photos: Photos
) -> None:
    photos(64)
    installation = house(night={"batch_size": 64, "smallest_batch": 64})
    run, _, (batch,) = planned(installation)
    executor = Scripted(installation, outcome=dies)
    with pytest.raises(ClusterError):
        drive(installation, run, executor)
    assert len(executor.ran) + len(executor.solo) == 21
    alone = executor.solo.count(1) - (executor.solo[-1] == 1)  # the last death ended the search
    assert alone > 0
    quarantined = {key for key, _ in failed(installation)}
    assert quarantined == {unit.key for unit in batch.units[:alone]}
    left = sum(row.units for row in rows(installation, batches) if row.state == BatchState.PLANNED)
    assert left == 64 - alone
    die_with_the_process(installation)
    assert night(installation).compressed == left
    assert night(installation, "retry").compressed == alone


@pytest.mark.parametrize("place", [0, 499, 999])
def test_one_poison_image_in_a_full_batch_is_found_before_patience_ends(
    house: BuildHouse, photos: Photos, place: int
) -> None:
    photos(1_000)
    installation = house(night={"batch_size": 1_000, "smallest_batch": 1_000})
    run, _, (batch,) = planned(installation)
    poison = batch.units[place]
    executor = Scripted(installation, dies=lambda unit: unit == poison)
    drive(installation, run, executor)
    assert failed(installation) == [(poison.key, "killed_worker")]
    assert count(installation, summaries) == 999
    assert count_run(installation.ledger, run.id, 0.9)["left"] == 0


def test_deaths_between_which_something_lives_are_no_reason_to_give_up(
    house: BuildHouse, photos: Photos
) -> None:
    photos(88)
    installation = house(night={"batch_size": 2, "smallest_batch": 2})
    run, _, found = planned(installation)
    poison = {batch.units[0] for batch in found[::2]}
    drive(installation, run, Scripted(installation, dies=lambda unit: unit in poison))
    assert (len(failed(installation)), count(installation, summaries)) == (22, 66)


def test_when_everything_breaks_the_night_ends_and_says_what_broke(house: BuildHouse, photos: Photos) -> None:
    photos(30)
    installation = house(night={"batch_size": 1, "smallest_batch": 1})
    run, _, _ = planned(installation)
    executor = Scripted(installation, outcome=broken)
    with pytest.raises(StoreUnreachable, match="the archive does not answer"):
        drive(installation, run, executor)
    assert len(executor.ran) == 6  # not a timeout of the store for each of thirty batches
    said = count_run(installation.ledger, run.id, 0.9)
    assert (said["compressed"], said["failed"], said["left"]) == (0, 0, 30)
    assert said["broken"] == ["StoreUnreachable: the archive does not answer"] * 5
    die_with_the_process(installation)
    assert night(installation).compressed == 30


def test_five_breaks_between_which_something_works_are_tried_again(house: BuildHouse, photos: Photos) -> None:
    photos(12)
    installation = house(night={"batch_size": 1, "smallest_batch": 1})
    run, _, found = planned(installation)
    stumbling = {batch.batch_id for number, batch in enumerate(found) if number % 6 != 5}
    executor = Scripted(
        installation,
        outcome=lambda batch: (
            broken(batch) if batch.batch_id in stumbling and len(executor.ran) <= 12 else None
        ),
    )
    assert drive(installation, run, executor) == 12
    assert len(executor.ran) == 22


class Model(FakeCompressor):
    """Fails for the pictures that the test says."""

    def __init__(self, bad: Callable[[Prepared], bool]) -> None:
        super().__init__()
        self._bad = bad

    def compress(self, images: Sequence[Prepared]) -> Summary:
        if any(map(self._bad, images)):
            raise RuntimeError("CUDA error: device-side assert")
        return super().compress(images)


def test_a_model_that_fails_for_every_image_fails_the_batches_and_no_image(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accelerator that has lost its mind would else give every image of the night a failure row."""
    photos(40)
    installation = house()
    with monkeypatch.context() as broken_down:
        use_compressor(broken_down, Model(lambda image: True))
        summary = night(installation)
    assert (summary.state, summary.exit_code) == (RunState.FAILED, ExitCode.FAILED)
    assert (summary.compressed, summary.failed, summary.left) == (0, 0, 40)
    assert summary.broken == ["RuntimeError: CUDA error: device-side assert"] * 2
    assert rows(installation, failures) == []
    infra.worker._tools.cache_clear()
    healthy = night(installation)
    assert (healthy.resumed_batches, healthy.compressed, healthy.left) == (2, 40, 0)


def test_a_model_that_fails_for_one_image_rejects_that_one(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = photos(45)
    made[30].write_bytes(saved(Image.new("RGB", (1, 1)), "PNG"))
    installation = house()
    with monkeypatch.context() as broken_down:
        use_compressor(broken_down, Model(lambda image: image.width == 1))
        summary = night(installation)
    assert (summary.compressed, summary.failed, summary.left) == (44, 1, 0)
    assert failed(installation) == [(made[30].name, "internal")]
    (failure,) = summary.failures
    assert failure.detail == "the forward pass raised RuntimeError: CUDA error: device-side assert"
    infra.worker._tools.cache_clear()
    assert night(installation).compressed == 1  # with a model that does not mind

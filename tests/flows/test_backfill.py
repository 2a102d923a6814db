"""A whole backfill: below the nights, beside the nights, killed and resumed, paused and cancelled."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

import flows.backfill
from flows.backfill import begin_backfill, give_back, work_on
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Prepared, Summary
from fwd2bot_core.errors import ExitCode
from infra import archive
from infra.backfill_tables import BackfillState
from infra.crashpoints import BACKFILL_STEPS, VARIABLE
from infra.installation import Installation
from infra.tables import BatchState, batches, contents, leases, runs, shards, work
from tasks import backfills
from tasks.backfill_scope import Scope
from tasks.backfills import Budget
from tasks.runs import begin
from tasks.verify import verify
from tests.houses import COLLECTION, command, compressed_once, fwd2bot, lay_out, night
from tests.tasks.backfill_steps import Watching, started, worked
from tests.tasks.steps import count, die_with_the_process, events, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
SMALL = {"batch_size": 5, "smallest_batch": 5}


def whole(house: Installation, images: int) -> None:
    assert compressed_once(house) == images
    assert verify(house.ledger, house.archive).findings == ()
    assert [row.run_id for row in rows(house, leases) if row.run_id] == []


def test_an_old_archive_from_the_listing_to_the_reckoning(
    house: BuildHouse, photos: Photos, ledger_url: str
) -> None:
    photos(23)[4].write_bytes(b"broken")
    installation = house(archive={"ledger": ledger_url}, night=SMALL)
    screen = Watching()
    backfill = begin_backfill(installation.settings, None, Scope(), Budget(), screen)
    assert [row.state for row in rows(installation, runs)] == ["completed"]
    outcome = work_on(installation.settings, backfill.id, screen)
    assert outcome.exit_code == ExitCode.PARTLY_FAILED  # one cannot be compressed
    assert outcome.why == "23 in the archive = 22 compressed + 1 rejected (not_an_image 1) + 0 left"
    assert outcome.backfill.state == BackfillState.DONE
    assert (screen.images, screen.said[0], screen.said[-1]) == (23, "sliced 23", "turned 22")
    assert night(installation).message.startswith("nothing new among 23 images")
    (said,) = events(installation, "backfill.ended")
    assert said["after"] == {"archive": 23, "compressed": 22, "rejected": 1, "left": 0}
    assert verify(installation.ledger, installation.archive).findings == ()


def test_it_yields_to_a_night_within_a_batch_and_goes_on_after_it(
    house: BuildHouse, photos: Photos, ledger_url: str, tmp_path: Path
) -> None:
    photos(30)
    installation = house(archive={"ledger": ledger_url}, night=SMALL)
    backfill = started(installation)
    lay_out(tmp_path / "photos", 7, start=40)
    committed_before_the_night: list[int] = []

    def at(word: str) -> None:
        if word.startswith("advanced") and not committed_before_the_night:
            committed_before_the_night.append(count(installation, shards))
            held.append(begin(installation, COLLECTION))  # a night begins
        if word.startswith("waiting"):
            assert count(installation, shards) == committed_before_the_night[0] == 1
            die_with_the_process(installation)
            assert night(installation).compressed == 7

    held: list[object] = []
    screen = Watching(at)
    outcome = work_on(installation.settings, backfill.id, screen, sleep=lambda seconds: None)
    assert outcome.backfill.state == BackfillState.DONE
    assert f"waiting a night works on {COLLECTION}" in screen.said
    assert [word for word in screen.said if word.startswith("turned")] == ["turned 5", "turned 25"]
    whole(installation, 37)


def test_without_waiting_it_ends_and_says_why(house: BuildHouse, photos: Photos) -> None:
    photos(6)
    installation = house()
    backfill = started(installation)
    begin(installation, COLLECTION)
    outcome = worked(installation, backfill)
    assert (outcome.why, outcome.exit_code) == (f"a night works on {COLLECTION}", ExitCode.OK)
    assert rows(installation, shards) == []


def test_a_pause_is_heard_within_a_batch(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house(night=SMALL)
    backfill = started(installation)

    def at(word: str) -> None:
        if word.startswith("advanced"):
            backfills.tell(installation, backfill, BackfillState.PAUSED)

    outcome = work_on(installation.settings, backfill.id, Watching(at))
    assert (outcome.why, outcome.backfill.state) == ("paused", BackfillState.PAUSED)
    assert count(installation, shards) == 1
    backfills.tell(installation, outcome.backfill, BackfillState.ACTIVE)
    assert worked(installation, backfill).backfill.state == BackfillState.DONE
    whole(installation, 20)


def test_a_cancelled_one_gives_back_what_it_did_not_begin(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house(night=SMALL)
    backfill = started(installation)

    def at(word: str) -> None:
        if word.startswith("advanced"):
            backfills.tell(installation, backfill, BackfillState.CANCELLED)

    outcome = work_on(installation.settings, backfill.id, Watching(at))
    assert (outcome.why, outcome.backfill.state) == ("cancelled", BackfillState.CANCELLED)
    assert count(installation, work) == 5
    assert give_back(installation, outcome.backfill) == 0
    assert night(installation).compressed == 15
    whole(installation, 20)


def test_a_batch_that_cannot_be_done_does_not_hold_up_the_others(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(20)
    installation = house(night=SMALL)
    backfill = started(installation)
    bad = sorted(row.id for row in rows(installation, batches))[0]
    commit = flows.backfill.compress.__globals__["commit"]

    def stumbling(ledger: object, archive: object, run: object, batch: object, receipt: object) -> None:
        from fwd2bot_core.errors import StoreError

        if batch.batch_id == bad:
            raise StoreError("no room")
        commit(ledger, archive, run, batch, receipt)

    monkeypatch.setitem(flows.backfill.compress.__globals__, "commit", stumbling)
    outcome = worked(installation, backfill)
    assert (outcome.why, outcome.exit_code) == ("1 batches could not be done", ExitCode.PARTLY_FAILED)
    assert outcome.turn is not None
    assert outcome.turn.broken == ["StoreError: no room"]
    monkeypatch.undo()
    assert worked(installation, backfill).backfill.state == BackfillState.DONE
    whole(installation, 20)


@pytest.mark.parametrize("step", [*BACKFILL_STEPS, "worker.shard-written#2", "driver.shard-committed#2"])
def test_killed_at_a_durable_step_it_goes_on(
    house: BuildHouse, photos: Photos, tmp_path: Path, step: str
) -> None:
    photos(20)
    installation = house(night=SMALL | {"lease_seconds": 5})
    config = ("--config", str(tmp_path / "fwd2bot.toml"))
    crash = {VARIABLE: step}
    if step == "backfill.slice-written":
        killed = fwd2bot("backfill", "start", *config, env=crash)
    else:
        started(installation)
        killed = fwd2bot("backfill", "run", *config, env=crash)
    assert killed.returncode == -signal.SIGKILL
    resumed = fwd2bot("backfill", "run", *config)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert {row.state for row in rows(installation, batches)} == {BatchState.COMMITTED}
    whole(installation, 20)


def test_a_night_and_a_backfill_as_processes_at_once_do_nothing_twice(
    house: BuildHouse, photos: Photos, tmp_path: Path, ledger_url: str
) -> None:
    """Both find everything new and claim as fast as they can, from a ledger that neither has seen."""
    photos(120)
    installation = house(archive={"ledger": ledger_url}, night=SMALL)
    config = ("--config", str(tmp_path / "fwd2bot.toml"))
    both = [
        subprocess.Popen(command(*words, *config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for words in (("backfill", "start", "--prefix", "00"), ("night", "--direct"))
    ]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    assert ended == [("", 0), ("", 0)]
    work_again = fwd2bot("backfill", "run", *config)
    assert (work_again.returncode, work_again.stderr) == (0, "")
    with installation.ledger.read() as connection:
        twice = connection.execute(
            sa.select(sa.func.count()).select_from(work).group_by(work.c.object_version_id)
        ).scalars()
        assert set(twice) == {1}
    night(installation)
    whole(installation, 120)


def test_equal_photos_pass_the_model_once_and_are_all_found(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key has a row of its own in the archive, with the same numbers; the content is known once."""
    made = photos(20)
    for path in made[4:]:
        path.write_bytes(made[int(path.stem) % 4].read_bytes())
    installation = house(night={"batch_size": 10, "smallest_batch": 10})
    passed: list[int] = []
    once = FakeCompressor.compress

    def counted(self: FakeCompressor, images: Sequence[Prepared]) -> Summary:
        passed.append(len(images))
        return once(self, images)

    monkeypatch.setattr(FakeCompressor, "compress", counted)
    worked(installation, started(installation))
    assert sum(passed) <= 8  # four contents, in two batches
    assert count(installation, contents) == 4
    whole(installation, 20)
    stored = [archive.locate(installation, path.name) for path in made]
    numbers = archive.many_tokens(installation, stored)
    for at, path in enumerate(made):
        assert numbers[at].tobytes() == numbers[int(path.stem) % 4].tobytes()

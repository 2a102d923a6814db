"""A whole night in this process: from photos in a folder to answers from stored tokens."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

import flows.nightly
import infra.installation
from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import ExitCode, LeaseHeld, LedgerLocked, NotInArchive, StoreUnreachable
from infra import archive
from infra.database import Ledger, open_ledger
from infra.installation import Installation
from infra.tables import BatchState, RunState, audit_events, batches, failures, leases, object_versions, runs
from tasks.discover import Discovery
from tasks.plan import TRIES, Plan
from tasks.runs import begin
from tasks.summary import NightSummary
from tasks.verify import verify
from tests.houses import COLLECTION, command, compressed_once, fwd2bot, night, tiny_jpeg
from tests.tasks.steps import Scripted, rows, statements

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


class Watching:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.images = 0

    def discovered(self, found: Discovery) -> None:
        self.said.append(f"discovered {found.new}")

    def planned(self, plan: Plan) -> None:
        self.said.append(f"planned {plan.images}")

    def starting(self, what: str) -> None:
        self.said.append(f"starting {what}")

    def advanced(self, images: int) -> None:
        self.images += images

    def finished(self, summary: NightSummary) -> None:
        self.said.append(f"finished {summary.state}")


class Interrupt(SilentScreen):
    """Somebody presses Ctrl-C after the first commit."""

    def advanced(self, images: int) -> None:
        raise KeyboardInterrupt


def test_every_photo_becomes_tokens_that_answer_without_it(house: BuildHouse, photos: Photos) -> None:
    made = photos(45)
    installation = house()
    screen = Watching()
    summary = run_night(installation.settings, COLLECTION, screen)
    assert (summary.state, summary.exit_code) == (RunState.COMPLETED, ExitCode.OK)
    assert (summary.listed, summary.new, summary.compressed, summary.shards) == (45, 45, 45, 3)
    assert summary.bytes_in == sum(path.stat().st_size for path in made)
    assert screen.images == 45
    assert [said for said in screen.said if "starting" not in said] == [
        "discovered 45",
        "planned 45",
        "finished completed",
    ]
    assert compressed_once(installation) == 45
    assert verify(installation.ledger, installation.archive).findings == ()

    fake = FakeCompressor()
    for number, path in enumerate(made):
        expected = fake.compress([fake.prepare(tiny_jpeg(number))]).tokens[0]
        path.unlink()  # from here on only the archive is there
        stored = archive.locate(installation, path.name)
        assert np.array_equal(archive.tokens(installation, stored), expected)
    where, answer = archive.ask(installation, "0007.jpg", "what is it ?")
    assert where.collection == COLLECTION
    assert answer == fake.answer(archive.tokens(installation, where), "what is it ?")


def test_a_night_without_news_starts_no_workers_and_says_so(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(5)
    installation = house()
    night(installation)
    kept = {entry.key: entry for entry in installation.archive.list("tokens/")}
    screen = Watching()
    summary = run_night(installation.settings, None, screen)
    assert (summary.state, summary.new, summary.compressed) == (RunState.COMPLETED, 0, 0)
    assert summary.message == f"nothing new among 5 images of {COLLECTION}"
    assert not [said for said in screen.said if "starting" in said]
    assert {entry.key: entry for entry in installation.archive.list("tokens/")} == kept


def test_only_what_was_added_is_compressed(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house()
    night(installation)
    photos(5, start=100)
    summary = night(installation)
    assert (summary.listed, summary.new, summary.compressed) == (25, 5, 5)
    assert compressed_once(installation) == 25


def test_an_overwritten_photo_is_compressed_anew_and_both_versions_are_told(
    house: BuildHouse, photos: Photos
) -> None:
    made = photos(3)
    installation = house()
    night(installation)
    made[1].write_bytes(tiny_jpeg(500))
    summary = night(installation)
    assert (summary.new, summary.superseded, summary.compressed) == (1, 1, 1)
    old, new = archive.life(installation, "0001.jpg")
    assert old["superseded_at"] is not None
    assert new["superseded_at"] is None
    assert old["sha256"] != new["sha256"]
    for version in (old, new):
        assert len(version["summaries"]) == len(version["audit"]) == 1
        assert version["audit"][0]["outcome"] == "compressed"
    assert archive.locate(installation, "0001.jpg").shard == new["summaries"][0]["path"]
    assert archive.life(installation, new["sha256"][:12]) == [new]


def test_a_night_in_which_some_images_fail_names_them_and_commits_the_others(
    house: BuildHouse, photos: Photos
) -> None:
    made = photos(10)
    made[2].write_bytes(b"")
    made[5].write_bytes(b"no picture")
    installation = house()
    summary = night(installation)
    assert (summary.state, summary.exit_code) == (RunState.PARTLY_FAILED, ExitCode.PARTLY_FAILED)
    assert (summary.compressed, summary.failed) == (8, 2)
    assert {(failure.key, failure.reason) for failure in summary.failures} == {
        ("0002.jpg", "empty"),
        ("0005.jpg", "not_an_image"),
    }
    (version,) = archive.life(installation, "0005.jpg")
    assert [failure["reason"] for failure in version["failures"]] == ["not_an_image"]
    assert version["audit"][0]["outcome"] == "rejected"
    with pytest.raises(NotInArchive, match="no committed tokens"):
        archive.locate(installation, "0005.jpg")
    assert verify(installation.ledger, installation.archive).findings == ()


def test_a_photo_that_moves_away_while_the_night_runs_is_named(house: BuildHouse, photos: Photos) -> None:
    made = photos(30)
    installation = house()

    class Thief(SilentScreen):
        def planned(self, plan: Plan) -> None:
            made[0].unlink()
            made[1].write_bytes(tiny_jpeg(600) + b"\0")

    summary = run_night(installation.settings, None, Thief())
    assert {(failure.key, failure.reason) for failure in summary.failures} == {
        ("0000.jpg", "vanished"),
        ("0001.jpg", "changed"),
    }
    assert summary.compressed == 28
    assert night(installation).compressed == 1  # what 0001.jpg holds now


def test_a_disk_that_goes_away_costs_no_image_and_the_next_night_completes(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(30)
    installation = house()

    class Unmount(SilentScreen):
        def starting(self, what: str) -> None:
            if what == "compression":
                (tmp_path / "photos").rename(tmp_path / "unmounted")

    summary = run_night(installation.settings, None, Unmount())
    assert (summary.state, summary.exit_code) == (RunState.FAILED, ExitCode.FAILED)
    assert (summary.compressed, summary.failed, summary.left) == (0, 0, 30)
    assert "StoreUnreachable" in summary.broken[0]
    (tmp_path / "unmounted").rename(tmp_path / "photos")
    assert night(installation).compressed == 30
    assert compressed_once(installation) == 30


def test_an_empty_mount_point_is_an_outage_and_nothing_is_lost(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    """The folder is there, the disk in it is not: a night would find everything vanished."""
    photos(30)
    installation = house()
    night(installation)
    photos(30, start=100)
    with pytest.raises(KeyboardInterrupt):
        run_night(installation.settings, None, Interrupt())
    planned = [row.id for row in rows(installation, batches) if row.state == BatchState.PLANNED]
    assert planned
    known = rows(installation, object_versions)

    (tmp_path / "photos").rename(tmp_path / "disk")
    (tmp_path / "photos").mkdir()
    for _ in range(TRIES + 1):
        with pytest.raises(StoreUnreachable, match=r"lists nothing .* Is it mounted"):
            night(installation)
    assert [row.id for row in rows(installation, batches) if row.state == BatchState.PLANNED] == planned
    assert rows(installation, object_versions) == known
    assert rows(installation, failures) == []
    ended = fwd2bot("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
    assert ended.returncode == ExitCode.FAILED
    assert "Is it mounted, and is the prefix right?" in ended.stderr
    assert "Traceback" not in ended.stderr

    (tmp_path / "photos").rmdir()
    (tmp_path / "disk").rename(tmp_path / "photos")
    assert night(installation).state == RunState.COMPLETED
    assert compressed_once(installation) == 60


def test_originals_that_are_not_there_fail_the_night_and_free_the_slot(
    house: BuildHouse, tmp_path: Path
) -> None:
    installation = house()
    (tmp_path / "photos").rmdir()
    with pytest.raises(StoreUnreachable):
        night(installation)
    (run,) = rows(installation, runs)
    assert run.state == "failed"
    assert rows(installation, leases)[0].run_id is None


def test_a_night_that_is_interrupted_frees_the_slot_and_is_resumed(house: BuildHouse, photos: Photos) -> None:
    photos(45)
    installation = house()

    with pytest.raises(KeyboardInterrupt):
        run_night(installation.settings, None, Interrupt())
    summary = night(installation)
    assert (summary.resumed_batches, summary.compressed) == (2, 25)
    assert compressed_once(installation) == 45


def test_a_night_beside_another_of_the_same_collection_is_refused(house: BuildHouse, photos: Photos) -> None:
    photos(3)
    installation = house()
    begin(installation, COLLECTION)
    with pytest.raises(LeaseHeld):
        night(installation)
    assert rows(installation, object_versions) == []


def test_two_collections_may_run_at_the_same_time(house: BuildHouse, photos: Photos, tmp_path: Path) -> None:
    photos(3)
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "0000.jpg").write_bytes(tiny_jpeg(0))
    installation = house(**{"collections.line-2": {"originals": "others"}})
    begin(installation, COLLECTION)
    summary = run_night(installation.settings, "line-2", SilentScreen())
    assert summary.compressed == 1


def stop_between_transactions(process: subprocess.Popen[str], house: Installation) -> None:
    """Stopped inside one, it would keep the ledger locked."""
    impatient = open_ledger(house.settings.archive.ledger, busy_seconds=0)
    while True:
        process.send_signal(signal.SIGSTOP)
        try:
            with impatient.write():
                break
        except LedgerLocked:
            process.send_signal(signal.SIGCONT)
            threading.Event().wait(0.002)
    impatient.close()


def test_two_nights_at_once_one_works_and_the_other_says_why_not(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(200)
    installation = house()
    installation.ledger.name  # noqa: B018  (made and migrated before the two start)
    arguments = ("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
    first = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not rows(installation, leases):
        threading.Event().wait(0.005)
    stop_between_transactions(first, installation)  # so that it surely still works while the second one asks
    second = fwd2bot(*arguments)
    first.send_signal(signal.SIGCONT)
    out, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (0, "")
    assert "200 compressed" in out
    assert second.returncode == ExitCode.FAILED
    assert re.search(
        rf"^fwd2bot: run night-\S+ \(process {first.pid} on \S+, last heard of \d+ s ago\) is working on "
        rf"collection:{COLLECTION}\. Wait for it",
        second.stderr,
    )
    assert "Traceback" not in second.stderr
    assert compressed_once(installation) == 200


def test_two_first_nights_on_a_fresh_machine_do_not_spoil_each_other(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(40)
    installation = house()
    arguments = command("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
    started = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"
    ]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    codes = sorted(code for _, _, code in ended)
    assert codes in ([0, 0], [0, 1])  # one after the other, or one refused
    assert all("is working on" in err for _, err, code in ended if code == 1), ended
    assert compressed_once(installation) == 40
    assert (
        len(rows(installation, sa.select(audit_events).where(audit_events.c.type == "batch.committed"))) == 2
    )


def test_a_night_takes_the_log_before_the_lease(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every transaction that takes both. Two runs that took them in different orders would, on a database that
    locks rows, wait for each other until it throws one of them out."""
    made = photos(45)
    made[3].write_bytes(b"broken")
    installation = house(night={"orphan_hours": 0.0})
    seen: list[str] = []
    monkeypatch.setattr(infra.installation, "open_ledger", lambda url: watched(url, seen))
    with pytest.raises(KeyboardInterrupt):
        run_night(installation.settings, None, Interrupt())
    installation.archive.create("tokens/orphan.parquet", b"left behind")
    poison = max(row.id for row in rows(installation, object_versions))  # in the last batch
    monkeypatch.setattr(
        flows.nightly,
        "make_executor",
        lambda *_, **__: nullcontext(
            Scripted(installation, dies=lambda unit: unit.object_version_id == poison)
        ),
    )
    summary = night(installation)
    assert summary.orphans_swept == 1
    assert "killed_worker" in summary.reasons
    night(installation, "retry")

    transactions = "\n".join(seen).split("BEGIN IMMEDIATE")[1:]
    both = [sql for sql in transactions if "FROM audit_head" in sql and "FROM leases" in sql]
    assert len(both) > 15
    for sql in both:
        assert sql.index("FROM audit_head") < sql.index("FROM leases"), sql


def watched(url: str, seen: list[str]) -> Ledger:
    ledger = open_ledger(url)
    sa.event.listen(ledger.engine, "before_cursor_execute", statements(seen))
    return ledger

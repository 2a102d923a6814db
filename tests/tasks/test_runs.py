"""A run's beginning and end, its summary, and the retry of what failed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

import fwd2bot_core
import infra.reading
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import ExitCode, LeaseHeld, ObjectForbidden, StoreUnreachable
from fwd2bot_core.work import Unit
from infra import archive, audit_log
from infra.installation import Installation
from infra.objects.file import FileStore
from infra.tables import (
    audit_events,
    audit_values,
    collections,
    contents,
    failures,
    leases,
    object_versions,
    runs,
    summaries,
)
from tasks import runs as the_runs
from tasks.plan import TRIES
from tasks.summary import NightSummary, count
from tasks.verify import verify
from tests.houses import COLLECTION, compressed_once, night, tiny_jpeg
from tests.tasks.steps import (
    begin,
    committed,
    die_with_the_process,
    events,
    everything,
    planned,
    rows,
    use_compressor,
)

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def test_a_run_is_written_down_before_it_does_anything(house: BuildHouse) -> None:
    installation = house()
    run = the_runs.begin(installation, COLLECTION)
    (row,) = rows(installation, runs)
    assert (row.id, row.kind, row.state, row.fencing) == (run.id, "night", "running", 1)
    (started,) = events(installation)
    assert (started["type"], started["subject"]) == ("run.started", {"kind": "night", "fencing": 1})
    assert rows(installation, leases)[0].run_id == run.id


def test_the_night_is_the_date_in_its_zone(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "now", lambda: datetime(2026, 11, 24, 16, 30, tzinfo=UTC))
    tokyo = the_runs.begin(house(night={"zone": "Asia/Tokyo"}), COLLECTION)
    assert tokyo.night.isoformat() == "2026-11-25"


def test_a_second_run_is_refused_and_leaves_no_trace(house: BuildHouse) -> None:
    installation = house()
    the_runs.begin(installation, COLLECTION)
    before = everything(installation)
    with pytest.raises(LeaseHeld):
        the_runs.begin(installation, COLLECTION)
    assert everything(installation) == before
    assert len(rows(installation, runs)) == len(events(installation)) == 1


def test_a_run_that_takes_over_says_whose_place_it_took(house: BuildHouse) -> None:
    installation = house()
    first = begin(installation)
    die_with_the_process(installation)
    second = begin(installation)
    states = {row.id: (row.state, row.message) for row in rows(installation, runs)}
    assert states[first.id] == ("abandoned", f"its process died; {second.id} took over")
    assert states[second.id][0] == "running"
    taken = next(event for event in events(installation) if event["type"] == "run.taken-over")
    assert taken["subject"] == {"run_id": first.id}
    the_runs.fail(installation, first, RuntimeError("too late"))  # the old one wakes up: nothing changes
    assert {row.id: row.state for row in rows(installation, runs)} == {
        first.id: "abandoned",
        second.id: "running",
    }


def test_a_failed_run_gives_the_lease_back_and_says_why(house: BuildHouse) -> None:
    installation = house()
    run = begin(installation)
    the_runs.fail(installation, run, RuntimeError("disk full"))
    (row,) = rows(installation, runs)
    assert (row.state, row.message) == ("failed", "RuntimeError: disk full")
    assert events(installation)[-1]["reason_code"] == "RuntimeError"
    assert rows(installation, leases)[0].run_id is None


def test_a_collection_that_moved_keeps_its_number_and_the_log_says_so(
    house: BuildHouse, tmp_path: Path
) -> None:
    begin(house())
    die_with_the_process(house())
    (tmp_path / "moved").mkdir()
    moved = house(**{f"collections.{COLLECTION}": {"originals": "moved", "prefix": "2026/"}})
    run = begin(moved)
    (row,) = rows(moved, collections)
    assert (row.originals, row.prefix) == ((tmp_path / "moved").as_uri(), "2026/")
    (event,) = events(moved, "collection.moved")
    names = {row.ref: (row.kind, row.value) for row in rows(moved, audit_values)}
    assert {name: names[ref] for name, ref in event["before"].items()} == {
        "originals": ("originals", (tmp_path / "photos").as_uri()),
        "prefix": ("prefix", ""),
    }
    assert {name: names[ref] for name, ref in event["after"].items()} == {
        "originals": ("originals", (tmp_path / "moved").as_uri()),
        "prefix": ("prefix", "2026/"),
    }
    assert (event["run_id"], names[event["collection"]]) == (run.id, ("collection", COLLECTION))

    the_runs.fail(moved, run, RuntimeError())
    begin(moved)  # from the same place again
    assert len(events(moved, "collection.moved")) == 1


def test_an_event_is_exactly_these_bytes(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is hashed and will be signed: one that changes its bytes breaks every proof of it."""
    installation = house()
    monkeypatch.setattr(audit_log, "now", lambda: datetime(2026, 11, 24, 1, 2, 3, 4, tzinfo=UTC))
    run = begin(installation)
    with installation.ledger.read() as connection:
        query = sa.select(audit_events).where(audit_events.c.type == "discovery.ended")
        row = connection.execute(query).one()
    assert row.body.decode() == (
        f'{{"actor":{{"ref":"{run.actor.ref}","role":"operator"}},'
        '"after":{"listed":0,"listed_bytes":0,"new":0,"new_bytes":0,"superseded":0},'
        f'"clock":{{"source":"system"}},"collection":"{run.collection_ref}",'
        f'"compressor":"{installation.spec(COLLECTION).fingerprint}","event_id":"{row.event_id}",'
        f'"occurred_at":"2026-11-24T01:02:03.000004Z","run_id":"{run.id}","seq":1,'
        f'"software":"fwd2bot {fwd2bot_core.__version__}","type":"discovery.ended","v":1}}'
    )
    assert row.leaf == hashlib.sha256(b"\0" + row.body).digest()


def summary(**values: object) -> NightSummary:
    return NightSummary(
        run_id="r", collection="c", kind="night", night="2026-11-24", compressor="f", **values
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "state", "code"),
    [
        ({}, "completed", ExitCode.OK),
        ({"compressed": 5}, "completed", ExitCode.OK),
        ({"compressed": 5, "failed": 1}, "partly_failed", ExitCode.PARTLY_FAILED),
        ({"compressed": 5, "left": 1}, "partly_failed", ExitCode.PARTLY_FAILED),
        ({"failed": 1}, "partly_failed", ExitCode.PARTLY_FAILED),
        ({"left": 1}, "failed", ExitCode.FAILED),
        ({"left": 1, "broken": ["IntegrityError: x"]}, "failed", ExitCode.INTEGRITY),
    ],
)
def test_only_a_night_that_did_everything_is_completed(
    values: dict[str, object], state: str, code: ExitCode
) -> None:
    made = summary(**values)
    assert (str(made.state), made.exit_code) == (state, code)


def test_figures_that_do_not_exist_are_zero() -> None:
    assert (summary().ratio, summary().images_per_second) == (0.0, 0.0)
    assert summary(listed=3).message == "nothing new among 3 images of c"


def test_a_summary_is_counted_from_the_ledger(house: BuildHouse, photos: Photos) -> None:
    made = photos(50)
    made[7].write_bytes(b"broken")
    installation = house()
    run, _, found = planned(installation)
    receipts = committed(installation, run, found[:2])
    said = count(installation.ledger, run.id, threshold=0.9)
    assert (said["compressed"], said["failed"], said["left"], said["shards"]) == (
        sum(r.shard.rows for r in receipts if r.shard),
        sum(image.reject is not None for r in receipts for image in r.images),
        10,
        2,
    )
    assert said["bytes_in"] == sum(r.bytes_in for r in receipts)
    assert said["bytes_out"] == sum(r.bytes_out for r in receipts)
    assert said["stage_seconds"]["forward"] == pytest.approx(
        sum(r.stages.forward for r in receipts), abs=0.01
    )


def nameless(made: NightSummary) -> dict[str, object]:
    kept = made.to_dict() | {"failures": [], "broken": [], "audit": None}  # what is signed includes its end
    return {name: value for name, value in kept.items() if name not in ("collection", "message")}


def test_the_summary_in_the_ledger_is_the_one_on_the_screen_without_its_names(
    house: BuildHouse, photos: Photos
) -> None:
    photos(5)[1].write_bytes(b"broken")
    installation = house()
    made = night(installation)
    (row,) = rows(installation, runs)
    assert json.loads(row.summary) == nameless(made)
    assert row.message == made.message == "4 compressed, 1 failed (not_an_image 1)"
    assert [(f.key, f.reason) for f in made.failures] == [("0001.jpg", "not_an_image")]


def test_a_retry_takes_what_failed_and_leaves_what_still_fails(house: BuildHouse, photos: Photos) -> None:
    made = photos(6)
    made[1].write_bytes(b"broken for good")
    mended = made[2].read_bytes()
    made[2].unlink()
    made[2].symlink_to(made[0].parent / "not mounted")
    installation = house()
    first = night(installation)
    assert (first.compressed, first.failed) == (4, 2)
    before = rows(installation, failures)

    made[2].unlink()
    made[2].write_bytes(mended)
    second = night(installation)  # the mended file is another version: a night takes it
    assert (second.new, second.compressed) == (1, 1)
    again = night(installation, "retry")
    assert (again.compressed, again.failed, again.kind) == (0, 1, "retry")
    of_broken = [
        row
        for row in rows(installation, failures)
        if row.object_version_id == next(f.object_version_id for f in before if f.reason == "not_an_image")
    ]
    assert [(row.run_id, row.resolved_at) for row in of_broken] == [
        (first.run_id, None),
        (again.run_id, None),
    ]


def test_a_retry_of_the_same_version_resolves_its_failure(house: BuildHouse, photos: Photos) -> None:
    made = photos(5)
    for path in (made[1], made[3]):
        large = io.BytesIO()
        Image.open(path).resize((48, 32)).save(large, "JPEG")
        path.write_bytes(large.getvalue())
    assert night(house(limits={"max_pixels": 24 * 16})).failed == 2
    installation = house()  # without that limit
    assert night(installation).compressed == 0  # a night does not try again what will not change by itself
    retried = night(installation, "retry")
    assert (retried.compressed, retried.failed) == (2, 0)
    assert all(row.resolved_at is not None for row in rows(installation, failures))
    assert len(rows(installation, failures)) == 2
    assert compressed_once(installation) == 5
    assert night(installation, "retry").compressed == 0


def test_nights_try_again_what_may_have_passed_but_not_for_ever(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(5)
    installation = house()
    plain_read = FileStore.read

    def forbid(store: FileStore, key: str, *, identity: str | None = None) -> bytes:
        if key in forbidden:
            raise ObjectForbidden(f"{key} may not be read")
        return plain_read(store, key, identity=identity)

    forbidden = {"0001.jpg", "0003.jpg"}
    monkeypatch.setattr(FileStore, "read", forbid)
    assert night(installation).failed == 2
    forbidden.remove("0001.jpg")
    second = night(installation)
    assert (second.compressed, second.failed) == (1, 1)
    for _ in range(TRIES - 2):
        assert night(installation).failed == 1
    assert night(installation).failed == 0  # it was given up
    assert night(installation).open_failures == 1  # and not forgotten
    forbidden.clear()
    assert night(installation).compressed == 0
    assert night(installation, "retry").compressed == 1
    assert night(installation).open_failures == 0
    assert compressed_once(installation) == 5


def test_an_image_that_fails_again_and_again_is_one_open_failure(house: BuildHouse, photos: Photos) -> None:
    photos(3)[1].write_bytes(b"broken")
    installation = house()
    night(installation)
    for _ in range(2):
        night(installation, "retry")
    assert len(rows(installation, failures)) == 3
    assert archive.status(installation)["failures"] == [
        {"collection": COLLECTION, "reason": "not_an_image", "images": 1}
    ]


def test_a_key_overwritten_after_it_failed_is_not_retried(house: BuildHouse, photos: Photos) -> None:
    made = photos(3)
    made[1].write_bytes(b"broken")
    installation = house()
    night(installation)
    made[1].write_bytes(tiny_jpeg(300))
    assert night(installation).compressed == 1
    assert night(installation, "retry").failed == 0
    assert archive.status(installation)["failures"] == []
    assert compressed_once(installation) == 3
    assert len(rows(installation, object_versions)) == 4
    assert len(rows(installation, summaries)) == 3


def test_a_broken_batch_names_nothing_in_the_ledgers_summary(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(3)
    installation = house()

    def down(unit: Unit, *_: object) -> bytes:
        raise StoreUnreachable(f"no answer for {unit.key}")

    monkeypatch.setattr(infra.reading, "_read", down)
    made = night(installation)
    (said,) = made.broken
    assert re.fullmatch(r"StoreUnreachable: no answer for 000[012]\.jpg", said)
    (row,) = rows(installation, runs)
    assert json.loads(row.summary) == nameless(made)
    assert ".jpg" not in row.summary


def test_an_image_too_large_at_first_has_its_size_in_pixels_once_it_was_compressed(
    house: BuildHouse, photos: Photos
) -> None:
    """Its bytes were known before its picture was: the later try fills the gap."""
    photos(3)
    strict = house(limits={"max_pixels": 100})
    assert night(strict).reasons == {"too_many_pixels": 3}
    assert {(row.width, row.height, row.format) for row in rows(strict, contents)} == {(None, None, None)}
    before = {row.sha256: row.size for row in rows(strict, contents)}
    relaxed = house()
    assert night(relaxed, "retry").compressed == 3
    assert {row.sha256: row.size for row in rows(relaxed, contents)} == before
    assert {(row.width, row.height, row.format) for row in rows(relaxed, contents)} == {(24, 16, "JPEG")}


def test_what_a_version_was_found_to_hold_is_not_rewritten(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another compressor reads other bytes under the same time and size: a restore gone wrong, or a fraud."""
    path, _ = photos(2)
    time = path.stat().st_mtime_ns
    other = tiny_jpeg(273)
    assert len(other) == path.stat().st_size
    installation = house()
    assert night(installation).compressed == 2
    known = sa.select(*(c for c in object_versions.c if c is not object_versions.c.facts))
    before = rows(installation, known.order_by(object_versions.c.id))
    path.write_bytes(other)
    os.utime(path, ns=(time, time))

    use_compressor(monkeypatch, FakeCompressor(k=8))
    again = house()
    summary = night(again)
    assert (summary.new, summary.superseded) == (0, 0)
    assert (summary.compressed, summary.reasons) == (1, {"changed": 1})
    (failure,) = summary.failures
    assert failure.key == path.name
    assert "other bytes than when it was first read, under the same identity" in failure.detail
    assert rows(again, known.order_by(object_versions.c.id)) == before
    assert verify(again.ledger, again.archive).findings == ()

"""Batches and claims: written before the work, resumed after a crash, never two for one image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import infra.reading
import tasks.plan
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import ImageRejected, LeaseLost, LedgerError, RejectReason
from fwd2bot_core.work import Unit, batch_id_of
from infra.installation import Installation
from infra.settings import Settings
from infra.tables import WorkState, batches, object_versions, work
from tasks.plan import TRIES, Plan, batch_size, planned_batches, split, write_plan
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.steps import (
    begin,
    committed,
    count,
    die_with_the_process,
    events,
    lose_the_lease,
    planned,
    query_plan,
    rows,
    statements,
)

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.mark.parametrize(
    ("images", "workers", "expected"),
    [
        (0, 2, 64),
        (1, 2, 64),
        (384, 2, 64),
        (385, 2, 65),  # three batches a worker
        (3_000, 2, 500),
        (6_000, 2, 1_000),
        (1_000_000, 2, 1_000),
        (6_000, 16, 125),
    ],
)
def test_small_nights_make_small_batches_and_none_is_larger_than_allowed(
    images: int, workers: int, expected: int
) -> None:
    assert batch_size(images, Settings(execution={"workers": workers, "executor": "local"})) == expected


def test_the_smallest_batch_is_never_larger_than_the_largest() -> None:
    assert batch_size(10, Settings(night={"batch_size": 5, "smallest_batch": 64})) == 5


def test_one_process_needs_no_shares() -> None:
    assert batch_size(900, Settings(execution={"executor": "inline", "workers": 8})) == 300


def test_every_new_image_is_claimed_once_in_the_order_of_discovery(house: BuildHouse, photos: Photos) -> None:
    made = photos(50)
    installation = house()
    run, plan, found = planned(installation)
    size = sum(path.stat().st_size for path in made)
    assert plan == Plan(batches=3, images=50, bytes=size, resumed=0)
    assert [len(batch.units) for batch in found] == [20, 20, 10]
    ids = [unit.object_version_id for batch in found for unit in batch.units]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    for batch in found:
        assert batch.batch_id == batch_id_of(batch.units, installation.spec(COLLECTION).fingerprint)
        assert batch.night == run.night
    assert {(row.object_version_id, row.state) for row in rows(installation, work)} == {
        (i, "claimed") for i in ids
    }


def test_a_claim_cannot_be_given_twice(house: BuildHouse, photos: Photos) -> None:
    photos(1)
    installation = house()
    planned(installation)
    (claim,) = rows(installation, work)

    def again() -> None:
        with installation.ledger.write() as connection:
            connection.execute(work.insert().values(**claim._mapping))

    with pytest.raises(LedgerError, match="UNIQUE"):
        again()


def test_the_plan_is_in_the_audit_log(house: BuildHouse, photos: Photos) -> None:
    photos(3)
    installation = house()
    _, plan, _ = planned(installation)
    said = events(installation)
    assert [event["type"] for event in said] == ["run.started", "discovery.ended", "plan.written"]
    assert said[-1]["after"] == {"batches": 1, "images": 3, "bytes": plan.bytes, "resumed": 0}


def test_a_run_that_lost_its_lease_claims_nothing(house: BuildHouse, photos: Photos) -> None:
    photos(3)
    installation = house()
    run = begin(installation)
    lose_the_lease(installation)
    with pytest.raises(LeaseLost):
        write_plan(installation.ledger, run, installation.settings)
    assert rows(installation, work) == rows(installation, batches) == []


def test_the_next_run_adopts_the_same_batches_and_adds_only_what_is_new(
    house: BuildHouse, photos: Photos
) -> None:
    photos(50)
    installation = house()
    _, _, first = planned(installation)
    photos(5, start=100)
    die_with_the_process(installation)
    second, plan, found = planned(installation)
    assert found[:3] == first
    assert (plan.batches, plan.images, plan.resumed) == (4, 55, 3)
    assert {unit.key for unit in found[3].units} == {f"{number:04}.jpg" for number in range(100, 105)}
    assert {(row.run_id, row.attempts) for row in rows(installation, batches)} == {
        (second.id, 2),
        (second.id, 1),
    }


def test_what_is_committed_is_not_planned_again(house: BuildHouse, photos: Photos) -> None:
    photos(50)
    installation = house()
    run, _, found = planned(installation)
    committed(installation, run, found[:2])
    assert list(planned_batches(installation.ledger, run)) == found[2:]
    die_with_the_process(installation)
    assert planned(installation)[2] == found[2:]


def test_batches_planned_at_the_same_moment_are_each_found_once(house: BuildHouse, photos: Photos) -> None:
    photos(10)
    installation = house(night={"batch_size": 1, "smallest_batch": 1})
    run, _, found = planned(installation)
    with installation.ledger.write() as connection:
        (moment,) = connection.execute(sa.select(batches.c.planned_at).limit(1)).one()
        connection.execute(batches.update().values(planned_at=moment))
    again = list(planned_batches(installation.ledger, run))
    assert sorted(batch.batch_id for batch in again) == sorted(batch.batch_id for batch in found)


def test_another_compressor_gives_the_claims_back(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(30)
    installation = house()
    run, _, first = planned(installation)
    committed(installation, run, first[:1])
    die_with_the_process(installation)

    other = house()
    other._specs[COLLECTION] = FakeCompressor(k=8).spec
    _, plan, found = planned(other)
    assert (plan.images, plan.resumed) == (30, 0)
    assert {batch.compressor for batch in found} == {other.spec(COLLECTION).fingerprint}
    states = dict(rows(installation, sa.select(batches.c.id, batches.c.state)))
    assert (states[first[0].batch_id], states[first[1].batch_id]) == ("committed", "released")
    (released,) = events(other, "plan.released")
    assert (released["subject"], released["reason_code"]) == ({"batches": 1}, "compressor_changed")
    assert released["compressor"] == other.spec(COLLECTION).fingerprint

    die_with_the_process(installation)
    _, plan, back = planned(installation)  # and back again: what was released is claimed anew
    assert plan.images == 10
    assert back == first[1:]
    assert count(installation, work, work.c.state == "claimed") == 10


def test_superseded_versions_are_not_planned(house: BuildHouse, photos: Photos) -> None:
    made = photos(3)
    installation = house()
    begin(installation)
    made[0].write_bytes(made[1].read_bytes() + b"\0")
    die_with_the_process(installation)
    _, plan, found = planned(installation)
    assert plan.images == 3
    current = sa.select(object_versions.c.id).where(object_versions.c.superseded_at.is_(None))
    assert {unit.object_version_id for unit in found[0].units} == {
        row.id for row in rows(installation, current)
    }


def test_a_split_replaces_a_batch_by_its_halves_durably(house: BuildHouse, photos: Photos) -> None:
    photos(7)
    installation = house()
    run, _, (batch,) = planned(installation)
    left, right = split(installation.ledger, run, batch)
    assert left.units + right.units == batch.units
    assert (len(left.units), len(right.units)) == (3, 4)
    assert sorted(b.batch_id for b in planned_batches(installation.ledger, run)) == sorted(
        [left.batch_id, right.batch_id]
    )
    states = {row.id: (row.state, row.parent_id) for row in rows(installation, batches)}
    assert states == {
        batch.batch_id: ("split", None),
        left.batch_id: ("planned", batch.batch_id),
        right.batch_id: ("planned", batch.batch_id),
    }
    (said,) = events(installation, "batch.split")
    assert said["subject"] == {"batch_id": batch.batch_id, "parts": [left.batch_id, right.batch_id]}
    assert said["reason_code"] == "killed_worker"
    die_with_the_process(installation)
    _, plan, found = planned(installation)
    assert (plan.resumed, {b.batch_id for b in found}) == (2, {left.batch_id, right.batch_id})


def test_the_units_of_a_batch_are_found_by_it_and_no_table_is_scanned(
    house: BuildHouse, photos: Photos
) -> None:
    photos(3)
    installation = house()
    run, _, (batch,) = planned(installation)
    seen: list[str] = []
    with installation.ledger.read() as connection:
        sa.event.listen(installation.ledger.engine, "before_cursor_execute", statements(seen))
        assert tasks.plan._units(connection, run, batch.batch_id) == batch.units
        (query,) = seen
        steps = query_plan(connection, query, (batch.batch_id, WorkState.CLAIMED))
    assert [step for step in steps if step.startswith("SCAN")] == []
    (of_work,) = (step for step in steps if " work " in step)
    assert "USING INDEX" in of_work
    assert "(batch_id=? AND state=?)" in of_work


def states(house: Installation) -> list[tuple[str, int, str | None]]:
    """(state, failures, reason) of each claimed object version, in the order of discovery."""
    query = sa.select(work.c.state, work.c.failures, work.c.reason).order_by(work.c.object_version_id)
    return [tuple(row) for row in rows(house, query)]


def failing(monkeypatch: pytest.MonkeyPatch, reasons: dict[str, RejectReason]) -> None:
    """Every worker rejects these keys for these reasons from now on."""
    plain = infra.reading._read

    def read(unit: Unit, *args: Any) -> bytes:
        if unit.key in reasons:
            raise ImageRejected(reasons[unit.key], "as the script says")
        return plain(unit, *args)

    monkeypatch.setattr(infra.reading, "_read", read)


MAY_PASS = {"vanished", "changed", "forbidden", "store_error", "internal"}


@pytest.mark.parametrize("reason", RejectReason)
def test_what_may_pass_is_tried_by_three_nights_and_then_only_by_a_retry(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch, reason: RejectReason
) -> None:
    photos(1)
    installation = house()
    with monkeypatch.context() as broken:
        failing(broken, {"0000.jpg": reason})
        nights = [night(installation) for _ in range(TRIES + 2)]
        assert TRIES == 3
        tried = 3 if reason in MAY_PASS else 1
        assert [summary.failed for summary in nights] == [1] * tried + [0] * (5 - tried)
        assert {summary.open_failures for summary in nights} == {1}
        assert nights[-1].message == (
            "nothing new among 1 images of line-1; 1 failed before and wait for a retry"
        )
        assert states(installation) == [("failed", tried, str(reason))]
        again = night(installation, "retry")
        assert (again.failed, again.open_failures) == (1, 1)
        assert states(installation) == [("failed", tried + 1, str(reason))]
    assert night(installation).compressed == 0
    healed = night(installation, "retry")
    assert (healed.compressed, healed.open_failures) == (1, 0)
    assert states(installation)[0][0] == "compressed"
    assert night(installation).message == "nothing new among 1 images of line-1"


def test_what_passed_by_the_next_night_is_compressed_by_it(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(6)
    installation = house()
    with monkeypatch.context() as broken:
        failing(broken, {"0001.jpg": RejectReason.STORE_ERROR, "0002.jpg": RejectReason.TRUNCATED})
        assert night(installation).failed == 2
    photos(1, start=100)
    summary = night(installation)
    assert (summary.new, summary.compressed, summary.failed, summary.open_failures) == (1, 2, 0, 1)
    assert summary.message == "2 compressed"
    assert [row[0] for row in states(installation)].count("failed") == 1


def test_a_reason_that_changes_counts_all_tries(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(1)
    installation = house()
    for number, reason in enumerate([RejectReason.FORBIDDEN, RejectReason.VANISHED, RejectReason.EMPTY], 1):
        with monkeypatch.context() as broken:
            failing(broken, {"0000.jpg": reason})
            assert night(installation).failed == 1
        assert states(installation) == [("failed", number, str(reason))]
    assert night(installation).compressed == 0  # empty will be empty tomorrow


def test_an_overwritten_image_has_all_its_tries_again(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = photos(1)
    installation = house()
    failing(monkeypatch, {"0000.jpg": RejectReason.FORBIDDEN})
    assert [night(installation).failed for _ in range(4)] == [1, 1, 1, 0]
    path.write_bytes(tiny_jpeg(500))
    assert [night(installation).failed for _ in range(4)] == [1, 1, 1, 0]
    assert states(installation) == [("failed", 3, "forbidden")] * 2

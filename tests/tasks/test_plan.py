"""Batches and claims: written before the work, resumed after a crash, never two for one image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import LeaseLost, LedgerError
from fwd2bot_core.work import batch_id_of
from infra.installation import Installation
from infra.settings import Settings
from infra.tables import audit_events, batches, leases, object_versions, work
from tasks.plan import Plan, batch_size, planned_batches, split, write_plan
from tests.tasks.steps import begin, committed, count, die_with_the_process, planned, rows

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
        assert batch.batch_id == batch_id_of(batch.units, installation.spec.fingerprint)
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
    planned(installation)
    types = [row.type for row in rows(installation, sa.select(audit_events).order_by(audit_events.c.seq))]
    assert types == ["run.started", "discovery.ended", "plan.written"]


def test_a_run_that_lost_its_lease_claims_nothing(house: BuildHouse, photos: Photos) -> None:
    photos(3)
    installation = house()
    run = begin(installation)
    with installation.ledger.write() as connection:
        connection.execute(leases.update().values(fencing=run.lease.fencing + 1))
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
    other.__dict__["spec"] = FakeCompressor(k=8).spec
    _, plan, found = planned(other)
    assert (plan.images, plan.resumed) == (30, 0)
    assert {batch.compressor for batch in found} == {other.spec.fingerprint}
    states = dict(rows(installation, sa.select(batches.c.id, batches.c.state)))
    assert (states[first[0].batch_id], states[first[1].batch_id]) == ("committed", "released")

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
    die_with_the_process(installation)
    _, plan, found = planned(installation)
    assert (plan.resumed, {b.batch_id for b in found}) == (2, {left.batch_id, right.batch_id})

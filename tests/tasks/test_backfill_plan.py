"""Slices: durable, resumable, and of what nobody else has; a dry look says the same before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.errors import LeaseLost, UsageError
from infra.backfill_tables import backfill_items, backfill_slices
from infra.installation import Installation
from infra.tables import batches, object_versions, work
from tasks import backfills, runs
from tasks.backfill_plan import check_scope, foresee, write_slices
from tasks.backfill_scope import Scope
from tasks.backfills import Budget
from tasks.plan import BACKFILL, write_plan
from tests.houses import COLLECTION, night
from tests.tasks.backfill_steps import small_slices, started
from tests.tasks.steps import begin, count, die_with_the_process, events, lose_the_lease, planned, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def test_each_slice_is_written_with_its_claims(
    house: BuildHouse, photos: Photos, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(50)
    small_slices(monkeypatch, 20)
    installation = house(archive={"ledger": ledger_url}, night={"batch_size": 15, "smallest_batch": 5})
    seen = foresee(installation, COLLECTION, Scope())
    assert (seen["images"], seen["to_claim"], seen["seconds"]) == (50, 50, None)
    assert rows(installation, object_versions) == []  # a look writes nothing
    backfill = started(installation)
    assert backfill.planned_at is not None
    slices = rows(installation, backfill_slices)
    assert [(row.number, row.images, row.claimed) for row in slices] == [
        (0, 20, 20),
        (1, 20, 20),
        (2, 10, 10),
    ]
    assert sum(row.units for row in rows(installation, batches)) == 50
    assert {row.state for row in rows(installation, work)} == {"claimed"}
    assert count(installation, backfill_items) == count(installation, work) == 50
    (said,) = events(installation, "backfill.planned")
    assert said["after"] == {
        "images": 50,
        "bytes": sum(row.bytes for row in slices),
        "claimed": 50,
        "missing": 0,
    }


def test_a_night_finds_nothing_to_do_in_what_a_backfill_has_claimed(
    house: BuildHouse, photos: Photos
) -> None:
    photos(30)
    installation = house()
    started(installation, Scope(prefix="000"))
    _run, plan, _ = planned(installation)
    assert plan.images == 20  # 0010 to 0029
    assert plan.resumed == 0


def test_what_a_night_has_is_not_claimed_and_counted_all_the_same(house: BuildHouse, photos: Photos) -> None:
    photos(10)[4].write_bytes(b"broken")
    installation = house()
    night(installation)
    photos(5, start=10)
    seen = foresee(installation, COLLECTION, Scope())
    started(installation)
    (only,) = rows(installation, backfill_slices)
    assert (only.images, only.claimed) == (15, 5)
    assert (seen["compressed"], seen["rejected"], seen["claimed"], seen["to_claim"]) == (9, 1, 0, 5)
    assert seen["seconds"] is not None


def test_candidates_that_a_backfill_claims_meanwhile_are_left_to_it(
    house: BuildHouse, photos: Photos, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The night has read its first candidates; before it claims them, a backfill does."""
    photos(30)
    installation = house(archive={"ledger": ledger_url})
    run = begin(installation)
    import tasks.plan as plan

    read = plan._next_units

    def and_then(*args: object) -> object:
        found = read(*args)  # type: ignore[arg-type]
        monkeypatch.setattr(plan, "_next_units", read)
        started(installation, Scope(prefix="000"))
        return found

    monkeypatch.setattr(plan, "_next_units", and_then)
    written = write_plan(installation.ledger, run, installation.settings)
    assert written.images == 20
    assert count(installation, work) == 30
    owners = {row.object_version_id: row.batch_id for row in rows(installation, work)}
    assert len(owners) == 30


def test_planning_goes_on_where_a_dead_process_was(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(50)
    small_slices(monkeypatch, 20)
    installation = house()
    run = runs.begin(installation, COLLECTION, BACKFILL, slot=backfills.slot(COLLECTION))
    backfill = backfills.create(installation.ledger, run, Scope(), Budget())
    told: list[int] = []
    backfill = write_slices(
        installation,
        run,
        backfill,
        progress=lambda so_far: told.append(so_far.images),
        going_on=lambda: not told,
    )
    assert backfill.planned_at is None
    die_with_the_process(installation)
    photos(2, start=60)
    again = runs.begin(installation, COLLECTION, BACKFILL, slot=backfills.slot(COLLECTION))
    with pytest.raises(LeaseLost):
        write_slices(installation, run, backfill)
    assert write_slices(installation, again, backfill).planned_at is not None
    assert sum(row.images for row in rows(installation, backfill_slices)) == 52
    assert count(installation, work) == 52


def test_a_run_that_lost_its_lease_plans_nothing(house: BuildHouse, photos: Photos) -> None:
    photos(3)
    installation = house()
    run = runs.begin(installation, COLLECTION, BACKFILL, slot=backfills.slot(COLLECTION))
    backfill = backfills.create(installation.ledger, run, Scope(), Budget())
    lose_the_lease(installation)
    with pytest.raises(LeaseLost):
        write_slices(installation, run, backfill)
    assert rows(installation, object_versions) == []


def test_a_key_with_another_version_is_left_to_the_nights(house: BuildHouse, photos: Photos) -> None:
    made = photos(3)
    installation = house()
    night(installation)
    made[0].write_bytes(made[1].read_bytes() + b"another")
    started(installation)
    assert count(installation, object_versions) == 3
    night(installation)
    assert count(installation, object_versions) == 4


def test_batches_are_no_larger_than_the_budget(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house()
    started(installation, max_images=8)
    assert sorted(row.units for row in rows(installation, batches)) == [4, 8, 8]


def test_a_prefix_that_no_key_has_is_refused(house: BuildHouse) -> None:
    installation = house(**{f"collections.{COLLECTION}": {"originals": "photos", "prefix": "line/"}})
    check_scope(installation, COLLECTION, "line/2020/")
    check_scope(installation, COLLECTION, "li")
    with pytest.raises(UsageError, match="none starts with 'other/'"):
        check_scope(installation, COLLECTION, "other/")

"""Every fact about an image bears the next number, or is not committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.segment import read_segment
from fwd2bot_core.errors import IntegrityError, LeaseLost
from fwd2bot_core.work import Batch
from infra import audit_log
from infra.installation import Installation
from infra.tables import audit_events, batches, object_versions
from tasks import runs
from tasks.commit import commit, quarantine
from tasks.compress import compress
from tasks.plan import planned_batches, write_plan
from tests.houses import COLLECTION, night
from tests.tasks.steps import (
    Scripted,
    begin,
    compressed,
    die_with_the_process,
    events,
    everything,
    lose_the_lease,
    planned,
    rows,
)


@pytest.fixture
def installation(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> Installation:
    """Five photos, one of them broken, and no night yet."""
    photos(5)[2].write_bytes(b"broken")
    return house(archive={"ledger": ledger_url})


def counts(house: Installation) -> list[int]:
    return [row.facts for row in rows(house, sa.select(object_versions).order_by(object_versions.c.id))]


def lines(house: Installation, path: str) -> list[int]:
    return [line["n"] for line in read_segment(house.archive.read(path))]


def log_something_about(house: Installation, object_version_id: int) -> int:
    with house.ledger.write() as connection:
        return audit_log.next_fact(connection, object_version_id)


def test_facts_are_counted_from_zero_and_tries_go_on(installation: Installation) -> None:
    night(installation)
    assert counts(installation) == [1] * 5
    run, _, (batch,) = planned(installation, "retry")
    assert [unit.facts for unit in batch.units] == [1]
    receipt = compressed(installation, batch)
    commit(installation.ledger, installation.archive, run, batch, receipt)
    assert lines(installation, receipt.segment.path) == [1]
    assert sorted(counts(installation)) == [1, 1, 1, 1, 2]


def test_equal_tries_have_segments_of_their_own(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    """The same batch with the same outcome: only the numbers tell one try from the other."""
    photos(1)[0].write_bytes(b"broken")
    installation = house()
    night(installation)
    night(installation, "retry")
    segments = [info.key for info in installation.archive.list("audit/segments/")]
    assert sorted(lines(installation, path) for path in segments) == [[0], [1]]


def test_a_batch_that_ran_twice_counts_once(installation: Installation) -> None:
    run, _, (batch,) = planned(installation)
    for _ in range(2):
        commit(installation.ledger, installation.archive, run, batch, compressed(installation, batch))
    assert counts(installation) == [1] * 5


def test_a_number_that_is_taken_meanwhile_stops_the_commit_and_the_next_night_goes_on(
    installation: Installation,
) -> None:
    run, _, (batch,) = planned(installation)
    receipt = compressed(installation, batch)
    assert log_something_about(installation, batch.units[1].object_version_id) == 0
    before = everything(installation)
    with pytest.raises(
        IntegrityError, match=f"object version {batch.units[1].object_version_id} fact 0 .*counts 1"
    ):
        commit(installation.ledger, installation.archive, run, batch, receipt)
    assert everything(installation) == before
    die_with_the_process(installation)
    successor = begin(installation)
    write_plan(installation.ledger, successor, installation.settings)
    (fresh,) = planned_batches(installation.ledger, successor)
    assert (fresh.batch_id, [unit.facts for unit in fresh.units]) == (batch.batch_id, [0, 1, 0, 0, 0])
    receipt = compressed(installation, fresh)
    commit(installation.ledger, installation.archive, successor, fresh, receipt)
    assert lines(installation, receipt.segment.path) == [0, 1, 0, 0, 0]
    assert counts(installation) == [1, 2, 1, 1, 1]


def test_a_batch_whose_numbers_are_always_taken_stays_planned_with_its_reason(
    installation: Installation,
) -> None:
    run, _, (batch,) = planned(installation)
    log_something_about(installation, batch.units[0].object_version_id)
    stale = Scripted(installation)
    stale.run = lambda found, *, solo=False: Scripted.run(  # type: ignore[method-assign]
        stale, [replace(each, units=batch.units) for each in found], solo=solo
    )
    compress(installation.ledger, installation.archive, run, stale)
    (row,) = rows(installation, batches)
    assert row.state == "planned"
    assert "the next try numbers it afresh" in row.error
    assert counts(installation) == [1, 0, 0, 0, 0]


def test_such_a_batch_is_numbered_afresh_and_compressed_once_more_in_the_same_night(
    installation: Installation,
) -> None:
    run, _, (batch,) = planned(installation)

    def log_meanwhile(_: Batch) -> None:
        if len(executor.ran) == 1:
            log_something_about(installation, batch.units[2].object_version_id)

    executor = Scripted(installation, outcome=log_meanwhile)
    compress(installation.ledger, installation.archive, run, executor)
    assert executor.ran == [5, 5]
    assert rows(installation, batches)[0].state == "committed"
    assert counts(installation) == [1, 1, 2, 1, 1]


def test_a_quarantine_is_a_fact_that_names_its_image_by_its_commitments(installation: Installation) -> None:
    run, _, (batch,) = planned(installation)
    victim = batch.units[3]
    compress(
        installation.ledger,
        installation.archive,
        run,
        Scripted(installation, dies=lambda unit: unit == victim),
    )
    (event,) = events(installation, "image.quarantined")
    assert event["subject"]["object_version"] == victim.object_version_id
    assert event["subject"]["n"] == 0
    assert event["subject"]["unit"] == commitment(victim.salt, "key", victim.key)
    assert event["subject"]["identity"] == commitment(victim.salt, "identity", victim.identity)
    assert counts(installation) == [1] * 5
    die_with_the_process(installation)
    _, _, (again,) = planned(installation, "retry")
    assert {unit.object_version_id: unit.facts for unit in again.units}[victim.object_version_id] == 1


def test_who_lost_the_lease_counts_nothing(installation: Installation) -> None:
    run, _, (batch,) = planned(installation)
    receipt = compressed(installation, batch)
    lose_the_lease(installation)
    with pytest.raises(LeaseLost):
        commit(installation.ledger, installation.archive, run, batch, receipt)
    with pytest.raises(LeaseLost):
        quarantine(installation.ledger, run, replace(batch, units=batch.units[:1]), "died")
    assert counts(installation) == [0] * 5


def test_a_fact_needs_an_object_version(installation: Installation) -> None:
    runs.begin(installation, COLLECTION)
    size = len(rows(installation, audit_events))
    with pytest.raises(ValueError, match="no object version 99"):
        log_something_about(installation, 99)
    assert len(rows(installation, audit_events)) == size

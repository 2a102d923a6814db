"""Progress of a run that is under way, counted from the ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infra.history import read_run
from infra.installation import Installation
from tasks.progress import running
from tests.houses import night
from tests.tasks.steps import committed, die_with_the_process, planned


def test_a_run_is_seen_from_its_plan_to_its_last_commit(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> None:
    photos(10)[3].write_bytes(b"broken")
    made = house(night={"batch_size": 5, "smallest_batch": 5}, archive={"ledger": ledger_url})
    assert running(made.ledger) == []
    run, _, batches = planned(made)
    (before,) = running(made.ledger)
    assert (before.run_id, before.alive, before.images, before.done) == (run.id, True, 10, 0)
    assert before.seconds_left is None
    committed(made, run, batches[:1])
    (after,) = running(made.ledger)
    assert (after.images, after.compressed, after.failed, after.done) == (10, 4, 1, 5)
    assert after.seconds_left is not None
    assert 0 < after.seconds_left < 60
    die_with_the_process(made)
    (dead,) = running(made.ledger)
    assert (dead.alive, dead.seconds_left) == (False, None)


def test_a_run_that_ended_is_history(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(2)[1].write_bytes(b"broken")
    made = house()
    summary = night(made)
    assert running(made.ledger) == []
    found = read_run(made.ledger, summary.run_id, named=5)
    assert found is not None
    past, failed, named = found
    assert (past.state, failed, [one.key for one in named]) == ("partly_failed", 1, ["0001.jpg"])
    assert read_run(made.ledger, "no-such-run", named=5) is None

"""A nightly list of all object versions, and what it proves about the houses of real nights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fwd2bot_core.audit import state_list
from fwd2bot_core.audit.states import State, secret_hash
from fwd2bot_core.errors import LeaseLost
from infra.installation import Installation
from infra.tables import audit_states, object_versions
from tasks import runs
from tasks.states import Taken, prove_whole, take_state
from tasks.sweep import orphans, sweep
from tests.houses import COLLECTION
from tests.tasks.steps import (
    compressed,
    events,
    everything,
    lose_the_lease,
    night_of_ten,
    planned,
    rows,
    small_parts,
)

BROKEN = "0003.jpg"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)


@pytest.fixture
def installation(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> Installation:
    return night_of_ten(house, photos, ledger_url)


def test_the_event_says_what_the_list_holds(installation: Installation) -> None:
    before = len(events(installation))
    taken = take_state(installation, "compliance")
    (event,) = events(installation, "state.root")
    (row,) = rows(installation, audit_states)
    assert (taken.rows, taken.facts, taken.size, taken.seq) == (10, 11, before, before)
    assert event["actor"]["role"] == "compliance"
    assert event["after"] == {
        "path": taken.path,
        "sha256": taken.sha256,
        "rows": 10,
        "facts": 11,
        "root": taken.root,
        "size": before,
        "secret_sha256": secret_hash(row.secret),
    }
    assert (row.seq, row.path, row.sha256, row.rows, row.root) == (
        taken.seq,
        taken.path,
        taken.sha256,
        10,
        taken.root,
    )
    written = [info.key for info in installation.archive.list("audit/states/")]
    assert len(written) == 4
    assert taken.path in written


def test_no_name_and_no_secret_is_written(installation: Installation) -> None:
    taken = take_state(installation)
    (row,) = rows(installation, audit_states)
    said = str(events(installation)) + installation.archive.read(taken.path).decode()
    for part in state_list.Manifest.decode(installation.archive.read(taken.path)).parts:
        said += str(state_list.read_part(part, installation.archive.read(part.path)))
    for word in (COLLECTION, row.secret.hex(), *(v.key for v in rows(installation, object_versions))):
        assert word not in said


def test_a_run_takes_it_within_its_lease(installation: Installation) -> None:
    run = runs.begin(installation, COLLECTION)
    taken: Taken = take_state(installation, run)
    (event,) = events(installation, "state.root")
    assert (event["run_id"], event["seq"]) == (run.id, taken.seq)
    lose_the_lease(installation)
    before = everything(installation)
    with pytest.raises(LeaseLost):
        take_state(installation, run)
    assert everything(installation) == before


def test_an_uncommitted_batch_is_not_in_the_list(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(3)
    made = house()
    run, _, (batch,) = planned(made)
    compressed(made, batch)
    taken = take_state(made, run)
    assert (taken.rows, taken.facts) == (3, 0)
    assert prove_whole(made, batch.units[0].object_version_id).line.state == State.NEW


def test_a_sweep_leaves_lists_alone(installation: Installation) -> None:
    run = runs.begin(installation, COLLECTION)
    take_state(installation, run)
    written = [info.key for info in installation.archive.list("audit/states/")]
    assert list(orphans(installation.ledger, installation.archive)) == []
    sweep(installation.ledger, installation.archive, run, older_than=timedelta(0))
    assert [info.key for info in installation.archive.list("audit/states/")] == written

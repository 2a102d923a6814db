"""One transaction a batch: all of it becomes visible, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import IntegrityError, LeaseLost, ObjectMissing
from fwd2bot_core.work import Batch, Receipt
from infra import audit_log
from infra.installation import Installation
from infra.tables import (
    audit_events,
    audit_segments,
    batches,
    contents,
    failures,
    leases,
    object_versions,
    shards,
    summaries,
    work,
)
from tasks.commit import commit, note_broken, quarantine
from tasks.plan import planned_batches, split
from tasks.runs import Run
from tests.houses import COLLECTION
from tests.tasks.steps import compressed, count, everything, planned, rows

Made = tuple[Installation, Run, Batch, Receipt]


@pytest.fixture
def made(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Made:
    """A batch of five photos, one of them broken, whose objects are written and not committed."""
    photos(5)[2].write_bytes(b"broken")
    installation = house()
    run, _, (batch,) = planned(installation)
    return installation, run, batch, compressed(installation, batch)


def do_commit(made: Made) -> None:
    installation, run, batch, receipt = made
    commit(installation.ledger, installation.archive, run, batch, receipt)


def test_a_commit_makes_each_image_visible_with_its_metrics_and_its_event(made: Made) -> None:
    installation, run, batch, receipt = made
    do_commit(made)
    assert receipt.shard is not None
    (shard,) = rows(installation, shards)
    assert (shard.path, shard.sha256, shard.bytes, shard.rows, shard.batch_id, shard.run_id) == (
        receipt.shard.path,
        receipt.shard.sha256,
        receipt.shard.size,
        4,
        batch.batch_id,
        run.id,
    )
    facts = {image.object_version_id: image for image in receipt.images}
    visible = {row.object_version_id: row for row in rows(installation, summaries)}
    assert {number: row.row for number, row in visible.items()} == {
        number: fact.row for number, fact in facts.items() if fact.reject is None
    }
    for number, row in visible.items():
        assert (row.source_bytes, row.token_bytes) == (
            facts[number].size,
            installation.spec(COLLECTION).token_bytes,
        )
    (failure,) = rows(installation, failures)
    assert (failure.reason, failure.run_id, failure.resolved_at) == ("not_an_image", run.id, None)
    assert failure.detail
    assert {row.state for row in rows(installation, work) if row.object_version_id in visible} == {
        "compressed"
    }
    assert count(installation, work, work.c.state == "failed") == 1

    known = {row.sha256: row for row in rows(installation, contents)}
    for version in rows(installation, object_versions):
        fact = facts[version.id]
        content = known[version.content_sha256]
        assert (content.sha256, content.size, content.width) == (fact.sha256, fact.size, fact.width)

    (done,) = rows(installation, batches)
    assert (done.state, done.bytes_in, done.bytes_out, done.worker) == (
        "committed",
        receipt.bytes_in,
        receipt.bytes_out,
        receipt.worker,
    )
    assert done.forward_seconds == receipt.stages.forward


def test_the_event_says_enough_to_find_and_check_every_object(made: Made) -> None:
    installation, run, _, receipt = made
    do_commit(made)
    event = rows(installation, sa.select(audit_events).where(audit_events.c.type == "batch.committed"))[0]
    said = parse(event.body)
    assert receipt.shard is not None
    assert said["after"]["shard"]["sha256"] == receipt.shard.sha256
    assert said["after"]["segment"]["subroot"] == receipt.segment.subroot
    assert said["after"]["rejected"] == 1
    assert (said["run_id"], said["compressor"]) == (run.id, installation.spec(COLLECTION).fingerprint)
    (segment,) = rows(installation, audit_segments)
    assert (segment.seq, segment.path, segment.subroot) == (
        event.seq,
        receipt.segment.path,
        receipt.segment.subroot,
    )


def test_if_the_event_cannot_be_appended_nothing_is_visible(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = made[0]
    before = everything(installation)

    def full(*_: object) -> int:
        raise RuntimeError("the log is full")

    with monkeypatch.context() as patched:
        patched.setattr(audit_log, "append", full)
        with pytest.raises(RuntimeError):
            do_commit(made)
    assert everything(installation) == before
    do_commit(made)
    assert count(installation, summaries) == 4


def test_the_same_receipt_twice_commits_once(made: Made) -> None:
    do_commit(made)
    before = everything(made[0])
    do_commit(made)
    assert everything(made[0]) == before


def test_another_receipt_of_the_same_batch_loses(made: Made) -> None:
    installation, run, batch, receipt = made
    do_commit(made)
    before = everything(installation)
    assert receipt.shard is not None
    body = installation.archive.read(receipt.shard.path)
    installation.archive.create("tokens/other.parquet", body)
    other = replace(receipt, shard=replace(receipt.shard, path="tokens/other.parquet"))
    commit(installation.ledger, installation.archive, run, batch, other)
    assert everything(installation) == before


@pytest.mark.parametrize("which", ["shard", "segment"])
def test_an_object_that_is_not_there_is_not_committed(made: Made, which: str) -> None:
    installation, _, _, receipt = made
    before = everything(installation)
    path = getattr(receipt, which).path
    installation.archive.delete_version(installation.archive.stat(path))
    with pytest.raises(ObjectMissing, match=path.rpartition("/")[2]):
        do_commit(made)
    assert everything(installation) == before


@pytest.mark.parametrize("which", ["shard", "segment"])
def test_altered_bytes_are_not_committed(made: Made, which: str) -> None:
    installation, _, _, receipt = made
    before = everything(installation)
    path = getattr(receipt, which).path
    data = bytearray(installation.archive.read(path))
    data[len(data) // 2] ^= 1
    installation.archive.replace(path, bytes(data))
    with pytest.raises(IntegrityError, match="not committed"):
        do_commit(made)
    assert everything(installation) == before


def test_an_object_that_goes_while_it_is_committed_takes_the_commit_with_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a sweep of another run would do it, between the check and the transaction."""
    installation, _, _, receipt = made
    before = everything(installation)

    def sweep_first(*args: Any) -> None:
        assert receipt.shard is not None
        installation.archive.delete_version(installation.archive.stat(receipt.shard.path))

    monkeypatch.setattr("infra.leases.check", sweep_first)
    with pytest.raises(ObjectMissing):
        do_commit(made)
    assert everything(installation) == before


def test_a_run_that_lost_its_lease_commits_nothing(made: Made) -> None:
    installation, run, batch, _ = made
    with installation.ledger.write() as connection:
        connection.execute(leases.update().values(fencing=run.lease.fencing + 1))
    before = everything(installation)
    for attempt in (
        lambda: do_commit(made),
        lambda: split(installation.ledger, run, batch),
        lambda: note_broken(installation.ledger, run, batch, RuntimeError()),
        lambda: quarantine(installation.ledger, run, replace(batch, units=batch.units[:1]), "died"),
    ):
        with pytest.raises(LeaseLost):
            attempt()
    assert everything(installation) == before


def test_a_receipt_of_a_batch_that_another_run_adopted_is_not_ours(made: Made) -> None:
    installation, run, batch, receipt = made
    stranger = replace(run, id="night-of-somebody-else")
    commit(installation.ledger, installation.archive, stranger, batch, receipt)
    assert rows(installation, summaries) == []


def test_a_quarantined_image_is_a_row_with_a_reason_and_an_event(made: Made) -> None:
    installation, run, batch, _ = made
    parts = split(installation.ledger, run, replace(batch, units=batch.units[:2]))
    quarantine(installation.ledger, run, parts[0], "worker lost")
    (failure,) = rows(installation, failures)
    assert (failure.reason, failure.detail) == ("killed_worker", "worker lost")
    assert failure.object_version_id == batch.units[0].object_version_id
    types = [row.type for row in rows(installation, sa.select(audit_events).order_by(audit_events.c.seq))]
    assert types[-1] == "image.quarantined"
    assert parts[0].batch_id not in {b.batch_id for b in planned_batches(installation.ledger, run)}


def test_a_broken_batch_says_why_and_stays_planned(made: Made) -> None:
    installation, run, batch, _ = made
    note_broken(installation.ledger, run, batch, RuntimeError("the store is down"))
    (row,) = rows(installation, batches)
    assert (row.state, row.error) == ("planned", "RuntimeError: the store is down")
    do_commit(made)
    (row,) = rows(installation, batches)
    assert (row.state, row.error) == ("committed", None)

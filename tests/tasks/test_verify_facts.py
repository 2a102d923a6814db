"""A fact that was removed, doubled or renumbered is found, and named, by whoever verifies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import infra.worker
import tasks.verify
from fwd2bot_core.audit import state_list
from fwd2bot_core.audit.canonical import canonical, parse
from fwd2bot_core.audit.merkle import leaf_hash, root
from fwd2bot_core.audit.segment import read_segment, write_segment
from infra import audit_log
from infra.installation import Installation
from infra.tables import audit_events, audit_segments, failures, object_versions, work
from tasks import state_proofs
from tasks.commit import commit
from tasks.compress import compress
from tasks.states import take_state
from tasks.verify import Finding, verify
from tests.houses import night
from tests.servers.intruder import as_intruder
from tests.tasks.steps import Scripted, compressed, planned, rows


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (state_list, state_proofs):
        monkeypatch.setattr(module, "PART", 8)


@pytest.fixture
def nights(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> Installation:
    """A night of two batches with an image that cannot be read, and a retry of it: 21 facts."""
    photos(20)[4].write_bytes(b"broken")
    made = house(archive={"ledger": ledger_url}, night={"batch_size": 10, "smallest_batch": 10})
    night(made)
    night(made, "retry")
    return made


@pytest.fixture
def installation(nights: Installation) -> Installation:
    """The same with a list of them."""
    take_state(nights)
    return nights


def found(house: Installation) -> list[Finding]:
    return list(verify(house.ledger, house.archive).findings)


def about_facts(house: Installation) -> list[Finding]:
    return [finding for finding in found(house) if finding.what == "facts"]


def alter(house: Installation, *statements: sa.Update | sa.Delete | sa.Insert) -> None:
    with house.ledger.write() as connection:
        for statement in statements:
            assert as_intruder(connection).execute(statement).rowcount > 0


def broken_id(house: Installation) -> int:
    return int(rows(house, failures)[0].object_version_id)


def rewrite_segment(house: Installation, place: int, change: Callable[[list[bytes]], list[bytes]]) -> str:
    """As somebody with all rights would: other lines in a segment, and event and table made to agree."""
    row = rows(house, sa.select(audit_segments).order_by(audit_segments.c.seq))[place]
    lines = change(house.archive.read(row.path).splitlines())
    data = b"".join(line + b"\n" for line in lines)
    house.archive.replace(row.path, data)
    said: dict[str, Any] = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "rows": len(lines),
        "subroot": root(map(leaf_hash, lines)).hex(),
    }
    (event,) = rows(house, sa.select(audit_events).where(audit_events.c.seq == row.seq))
    body = parse(event.body)
    body["after"]["segment"] |= said
    forged = {"body": canonical(body), "leaf": leaf_hash(canonical(body))}
    alter(
        house,
        audit_segments.update().where(audit_segments.c.seq == row.seq).values(**said),
        audit_events.update().where(audit_events.c.seq == row.seq).values(**forged),
    )
    return str(row.path)


def with_number(line: bytes, n: int) -> bytes:
    return canonical(parse(line) | {"n": n})


def test_what_nights_made_is_whole(installation: Installation) -> None:
    assert found(installation) == []


def test_a_count_that_was_changed(installation: Installation) -> None:
    number = broken_id(installation)
    mine = object_versions.update().where(object_versions.c.id == number)
    for facts in (1, 3):
        alter(installation, mine.values(facts=facts))
        (finding,) = found(installation)
        assert finding.what == "facts"
        assert f"{number}: {facts} by the ledger, 2 in the trail" in finding.problem


def test_a_line_that_was_taken_out_though_everything_was_made_to_agree(installation: Installation) -> None:
    """Event, table, hashes and the ledger's count say nothing of it; the list of that night does."""
    rewrite_segment(installation, 0, lambda lines: lines[1:])
    first = rows(installation, sa.select(object_versions).order_by(object_versions.c.id))[0].id
    alter(installation, object_versions.update().where(object_versions.c.id == first).values(facts=0))
    problems = [finding.problem for finding in about_facts(installation)]
    size = len(rows(installation, audit_events)) - 1
    assert problems == [f"its list counts 21 facts in the first {size} events, and they hold 20"]


def test_a_line_that_stands_twice_and_one_with_another_number(installation: Installation) -> None:
    path = rewrite_segment(installation, 0, lambda lines: [*lines, lines[-1]])
    ids = [row.id for row in rows(installation, sa.select(object_versions).order_by(object_versions.c.id))]
    named = {finding.name: finding.problem for finding in about_facts(installation)}
    assert named[path].endswith(f"wrongly: {ids[9]}: 0 after 1 facts")
    assert f"{ids[9]}: 1 by the ledger, 2 in the trail" in named["object_versions"]
    rewrite_segment(installation, 0, lambda lines: [*lines[:-2], with_number(lines[-2], 4)])
    (finding,) = about_facts(installation)
    assert finding.name == path
    assert finding.problem.endswith(f"wrongly: {ids[9]}: 4 after 0 facts")


def test_a_segment_that_was_taken_out_of_log_and_tables(installation: Installation) -> None:
    """The retry never was: its event is a harmless one now, and the broken image failed once."""
    row = rows(installation, sa.select(audit_segments).order_by(audit_segments.c.seq))[-1]
    (event,) = rows(installation, sa.select(audit_events).where(audit_events.c.seq == row.seq))
    body = parse(event.body) | {"type": "plan.written"}
    forged = {"type": "plan.written", "body": canonical(body), "leaf": leaf_hash(canonical(body))}
    alter(
        installation,
        audit_segments.delete().where(audit_segments.c.seq == row.seq),
        audit_events.update().where(audit_events.c.seq == row.seq).values(**forged),
    )
    assert [finding.what for finding in found(installation)] == ["facts", "facts"]
    number = broken_id(installation)
    assert f"{number}: 2 by the ledger, 1 in the trail" in about_facts(installation)[-1].problem
    alter(installation, object_versions.update().where(object_versions.c.id == number).values(facts=1))
    (finding,) = found(installation)
    assert "counts 21 facts" in finding.problem


def test_failures_that_were_taken_out_of_the_table(installation: Installation) -> None:
    alter(installation, failures.delete().where(failures.c.id == rows(installation, failures)[0].id))
    (finding,) = found(installation)
    assert (finding.what, finding.problem) == (
        "facts",
        "1 images of it failed, and the table failures has 0 of them",
    )


def test_an_object_version_that_was_taken_out(installation: Installation) -> None:
    number = broken_id(installation)
    alter(
        installation,
        failures.update().where(failures.c.object_version_id == number).values(object_version_id=number - 1),
        work.delete().where(work.c.object_version_id == number),
        object_versions.delete().where(object_versions.c.id == number),
    )
    assert about_facts(installation) != []


def test_a_quarantine_counts_and_its_removal_is_found(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(5)
    made = house()
    run, _, (batch,) = planned(made)
    victim = batch.units[1]
    compress(made.ledger, made.archive, run, Scripted(made, dies=lambda unit: unit == victim))
    assert found(made) == []
    (event,) = rows(made, sa.select(audit_events).where(audit_events.c.type == "image.quarantined"))
    for subject in ({"n": 1}, {"n": "0"}, {"n": 0, "object_version": 99}, {"n": 0, "object_version": -1}):
        body = parse(event.body)
        body["subject"] |= subject
        forged = {"body": canonical(body), "leaf": leaf_hash(canonical(body))}
        alter(made, audit_events.update().where(audit_events.c.seq == event.seq).values(**forged))
        names = [finding.name for finding in about_facts(made)]
        assert names[0] == f"event {event.seq}"


def test_facts_from_before_they_were_numbered_are_no_finding(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that was migrated: its lines have no numbers, and its images count none."""
    photos(5)[2].write_bytes(b"broken")
    made = house()
    with monkeypatch.context() as older:
        older.setattr(infra.worker, "write_segment", as_before_numbers)
        night(made)
    alter(made, object_versions.update().values(facts=0))
    assert found(made) == []
    night(made, "retry")
    take_state(made)
    assert found(made) == []
    proof = state_proofs.prove_whole(made, broken_id(made))
    assert ([fact.n for fact in proof.unnumbered], [fact.n for fact in proof.facts]) == ([None], [0])


def as_before_numbers(*arguments: Any) -> tuple[bytes, str]:
    """A segment as version 2 of the software wrote it."""
    data, _ = write_segment(*arguments)
    lines = [
        canonical({name: value for name, value in line.items() if name != "n"} | {"v": 2})
        for line in read_segment(data)
    ]
    return b"".join(line + b"\n" for line in lines), root(map(leaf_hash, lines)).hex()


def test_a_night_may_go_on_meanwhile(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(40)
    made = house(night={"batch_size": 10, "smallest_batch": 10})
    run, _, batches = planned(made)
    monkeypatch.setattr(tasks.verify, "EVENTS_AT_ONCE", 2)

    def commit_one(*_: int) -> None:
        if batches:
            batch = batches.pop()
            commit(made.ledger, made.archive, run, batch, compressed(made, batch))

    commit_one()
    scrub = verify(made.ledger, made.archive, progress=commit_one)
    assert (scrub.objects, scrub.findings) == (8, ())


def test_what_cannot_be_read_is_one_finding_and_doubled_facts_are_still_found(
    installation: Installation,
) -> None:
    first, *_ = rows(installation, sa.select(audit_segments).order_by(audit_segments.c.seq))
    installation.archive.delete_version(installation.archive.stat(first.path))
    assert [(finding.what, finding.name) for finding in found(installation)] == [("segment", first.path)]
    rewrite_segment(installation, 1, lambda lines: [*lines, lines[-1]])
    assert "0 after 1 facts" in " ".join(finding.problem for finding in about_facts(installation))


def test_a_counted_fact_that_nobody_logged(installation: Installation) -> None:
    with installation.ledger.write() as connection:
        audit_log.next_fact(connection, broken_id(installation))
    assert [finding.what for finding in found(installation)] == ["facts"]

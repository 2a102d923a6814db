"""Whatever is wrong with a row, a leaf, a node or the head of the log is found, and named by its number."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.verdicts import Verdict
from infra import audit_log
from infra.installation import Installation
from infra.tables import audit_events, audit_head, audit_nodes
from tasks.audit_verify import verify_log
from tests.tasks.audit_logs import (
    at,
    bodies,
    event,
    execute,
    grow,
    named,
    only,
    rewrite,
    verdicts,
)

M, U, N = Verdict.MODIFIED, Verdict.UNREADABLE, Verdict.NOT_YET_ANCHORED
Build = Callable[..., Installation]


def test_a_changed_leaf_node_or_head_is_found(log_on_each: Installation) -> None:
    log = log_on_each
    execute(log, at(70).values(leaf=bytes(32)))
    assert verdicts(log) == {(M, 70)}
    execute(log, at(70).values(leaf=leaf_hash(bodies(log)[70])))
    execute(log, audit_nodes.update().where(audit_nodes.c.number == 1).values(hash=bytes(32)))
    node = only(log)
    assert (node.seq, node.until, node.somewhere, node.where) == (256, 511, True, "audit_nodes")
    rewrite(log, bodies(log))
    execute(log, audit_head.update().values(frontier=bytes(32 * (600).bit_count())))
    assert only(log).where == "audit_head"
    execute(log, audit_head.update().values(size=500))
    assert verdicts(log) == {(M, 500)}


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"seq":70}', b"[" * 5000, b'{"seq":NaN}', b"null x"]
)
def test_a_body_that_is_no_record_is_found_though_it_has_its_leaf(log: Installation, body: bytes) -> None:
    execute(log, at(70).values(body=body, leaf=leaf_hash(body)))
    assert verdicts(log) == {(M, 70)}


def test_a_log_that_was_rewritten_throughout_takes_few_words(log: Installation) -> None:
    execute(log, audit_events.update().where(audit_events.c.seq > 10).values(type="nothing"))
    found = verify_log(log)
    assert 100 <= len(found.findings) <= 102
    assert any("more, up to event 599" in finding.detail for finding in found.findings)
    assert found.findings[0].seq == 11


def test_a_clock_that_went_back_is_told_of_once(log_on_each: Installation) -> None:
    log = log_on_each

    def later(seconds: float) -> None:
        made = event(0)
        object.__setattr__(made, "occurred_at", made.occurred_at + timedelta(seconds=seconds))
        with log.ledger.write() as connection:
            audit_log.append(connection, made)

    for seconds in (-200, 0, -4000, -4000, 0, -200):
        later(seconds)
    found = verify_log(log)
    assert named(found) == {(Verdict.CLOCK_SUSPECT, 602)}
    assert not found.acceptable


def test_rows_that_cannot_be_read_are_unreadable(house: Build, tmp_path: Path) -> None:
    made = house()
    grow(made, 2000)
    made.ledger.close()
    file = tmp_path / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    (marker,) = (row for row in bodies(made) if json.loads(row)["seq"] == 1500)
    made.ledger.close()
    page = data.rindex(marker) // 4096 * 4096
    data[page : page + 4096] = b"\xff" * 4096
    file.write_bytes(data)
    found = verify_log(made)
    assert (U, 0) in named(found)
    assert found.of(U)[0].where == "audit_events"

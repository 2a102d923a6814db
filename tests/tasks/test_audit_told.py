"""What the ledger says of its log besides the bodies: keys that events bear out, traces of events that are gone."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import Ed25519Signer
from fwd2bot_core.audit.verdicts import Verdict
from infra import audit_keys
from infra.installation import Installation
from infra.tables import audit_checkpoints, audit_events
from infra.tables import audit_keys as keys_table
from tasks import runs
from tasks.audit_told import read_told
from tasks.audit_verify import verify_log
from tasks.rotate_key import rotate_key
from tests.houses import COLLECTION
from tests.tasks.audit_logs import (
    at,
    bodies,
    execute,
    grow,
    named,
    only,
    rewrite,
    sign,
    verdicts,
)

M, U, N = Verdict.MODIFIED, Verdict.UNREADABLE, Verdict.NOT_YET_ANCHORED
Build = Callable[..., Installation]


def test_a_key_signs_only_in_its_own_time(log: Installation) -> None:
    with log.ledger.read() as connection:
        old = audit_keys.open_signer(log.settings.audit, audit_keys.origin(connection, log.settings.audit))
    rotate_key(log)
    sign(log)
    assert verdicts(log) == set()
    with log.ledger.read() as connection:
        row = connection.execute(sa.select(audit_checkpoints).where(audit_checkpoints.c.size == 601)).one()
    note = checkpoints.sign(Checkpoint(old.name, 601, row.root), [old])
    execute(log, audit_checkpoints.update().where(audit_checkpoints.c.size == 601).values(note=note))
    late = only(log)
    assert (late.verdict, late.where) == (Verdict.UNKNOWN_KEY, "audit_checkpoints")
    assert "outside of its own time" in late.detail


def test_a_key_that_no_event_introduced_is_no_key(log: Installation) -> None:
    with log.ledger.read() as connection:
        origin = audit_keys.origin(connection, log.settings.audit)
    stranger = Ed25519Signer.generate(origin).verifier
    row = {"id": stranger.key_id.hex(), "vkey": stranger.vkey(), "since": 70}
    execute(log, keys_table.insert().values(row))
    assert (Verdict.UNKNOWN_KEY, None) in verdicts(log)


def test_several_findings_stand_together(log_on_each: Installation) -> None:
    log = log_on_each
    grow(log, 5)
    execute(log, at(70).values(type="image.destroyed"), audit_events.delete().where(audit_events.c.seq > 601))
    found = verify_log(log)
    assert named(found) == {(M, 70), (Verdict.TRUNCATED, 602)}
    assert found.verdict is M
    assert found.of(Verdict.TRUNCATED)[0].until == 604


def test_whatever_speaks_of_later_events_is_a_trace(log: Installation) -> None:
    execute(log, audit_events.delete().where(audit_events.c.seq >= 500))
    with log.ledger.read() as connection:
        told = read_told(connection, 0)
    assert told.rows == 500
    sizes = {trace.what.split()[0]: trace.size for trace in told.traces}
    assert sizes == {"audit_head": 600, "audit_checkpoints": 600, "audit_anchors": 600, "audit_nodes": 512}


def test_a_run_without_its_beginning_or_end_is_a_trace(log: Installation) -> None:
    run = runs.begin(log, COLLECTION)
    runs.fail(log, run, RuntimeError("no matter"))
    assert verdicts(log) == set()
    rewrite(log, bodies(log)[:-1])
    assert verdicts(log) == {(Verdict.TRUNCATED, 601)}
    rewrite(log, bodies(log)[:-1])
    with log.ledger.read() as connection:
        traces = read_told(connection, 0).traces
    assert [trace.what.split(" ", 2)[2] for trace in traces] == [
        "began and no event says so",
        "ended and no event says so",
    ]

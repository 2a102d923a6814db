"""Seven ways in which somebody with the database and the signing key lies about the past: each has its class, and the
first event that is not what it was is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.verdicts import Verdict
from infra.installation import Installation
from infra.tables import audit_anchors, audit_checkpoints, audit_events
from tasks import runs
from tasks.audit_verify import verify_log
from tests.houses import COLLECTION
from tests.tasks.audit_logs import (
    altered,
    backup,
    bodies,
    execute,
    grow,
    named,
    restore,
    rewrite,
    sign,
    sign_again,
    verdicts,
)

M, T, F, R = Verdict.MODIFIED, Verdict.TRUNCATED, Verdict.FORKED, Verdict.RESTORED_FROM_BACKUP
SIZES = [301, 502, 603]
BAD = 333  # the event that is attacked; between the first checkpoint and the second
CUT = 550  # the first event that is cut off


@dataclass
class Log:
    """603 events, with checkpoints over 301, 502 and all of them in the ledger and in one anchor."""

    house: Installation
    url: str
    saved: dict[str, list[dict[str, Any]]]  # the ledger after the second checkpoint


@pytest.fixture
def log(house: Callable[..., Installation], ledger_url: str, tmp_path: Path) -> Log:
    (tmp_path / "vault").mkdir()
    vault = {"kind": "directory", "place": str(tmp_path / "vault")}
    made = house(archive={"ledger": ledger_url}, audit__anchors__vault=vault)
    grow(made, 300)
    assert sign(made) == SIZES[0]  # with the key's own event
    grow(made, 200)
    run = runs.begin(made, COLLECTION)
    assert sign(made) == SIZES[1]
    saved = backup(made)
    grow(made, 100)
    runs.fail(made, run, RuntimeError("no matter"))
    assert sign(made) == SIZES[2]
    assert verdicts(made) == set()
    return Log(made, ledger_url, saved)


def edit(log: Log) -> None:
    execute(log.house, _at(BAD).values(body=_lie(log)))


def edit_with_its_leaf(log: Log) -> None:
    execute(log.house, _at(BAD).values(body=_lie(log), leaf=leaf_hash(_lie(log))))


def delete_in_the_middle(log: Log) -> None:
    execute(log.house, audit_events.delete().where(audit_events.c.seq == BAD))


def delete_and_close_the_gap(log: Log) -> None:
    kept = bodies(log.house)
    del kept[BAD]
    rewrite(log.house, [altered(body, seq=seq) for seq, body in enumerate(kept)])


def truncate(log: Log) -> None:
    execute(log.house, audit_events.delete().where(audit_events.c.seq >= CUT))


def truncate_and_tidy_up(log: Log) -> None:
    """Head, nodes, checkpoints and receipts fit again; only the run's row is forgotten."""
    execute(log.house, audit_anchors.delete().where(audit_anchors.c.size > CUT))
    execute(log.house, audit_checkpoints.delete().where(audit_checkpoints.c.size > CUT))
    rewrite(log.house, bodies(log.house)[:CUT])


def rewrite_everything(log: Log) -> None:
    lied = bodies(log.house)
    lied[BAD] = _lie(log)
    rewrite(log.house, lied)


def rewrite_and_sign_everything(log: Log) -> None:
    rewrite_everything(log)
    sign_again(log.house, SIZES)


def fork(log: Log) -> None:
    """From the backup on, another history, as long and longer, signed with the same key."""
    restore(log.house, log.saved)
    grow(log.house, 150)
    sign_again(log.house, [*SIZES[:2], 652])


def fork_that_is_still_shorter(log: Log) -> None:
    restore(log.house, log.saved)
    grow(log.house, 50)
    sign_again(log.house, [*SIZES[:2], 552])


def replay_an_old_backup(log: Log) -> None:
    restore(log.house, log.saved)


def alter_a_column(name: str, value: Any) -> Callable[[Log], None]:
    return lambda log: execute(log.house, _at(BAD).values({name: value}))


ATTACKS = {
    "edit": (edit, {(M, BAD)}),
    "edit, leaf too": (edit_with_its_leaf, {(M, BAD)}),
    "delete": (delete_in_the_middle, {(M, BAD)}),
    "delete, gap closed": (delete_and_close_the_gap, {(M, BAD), (T, 602)}),
    "truncate": (truncate, {(T, CUT)}),
    "truncate, tidied up": (truncate_and_tidy_up, {(T, CUT)}),
    "rewrite": (rewrite_everything, {(M, BAD)}),
    "rewrite, signed": (rewrite_and_sign_everything, {(M, BAD), (F, BAD)}),
    "fork": (fork, {(F, 502), (M, 502)}),
    "fork, shorter": (fork_that_is_still_shorter, {(F, 502), (M, 502), (T, 552)}),
    "old backup": (replay_an_old_backup, {(R, 502)}),
    "column type": (alter_a_column("type", "image.destroyed"), {(M, BAD)}),
    "column run_id": (alter_a_column("run_id", None), {(M, BAD)}),
    "column event_id": (alter_a_column("event_id", "00000000-0000-4000-8000-000000000000"), {(M, BAD)}),
    "column occurred_at": (alter_a_column("occurred_at", datetime(2020, 1, 1, tzinfo=UTC)), {(M, BAD)}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_has_its_class_and_its_first_event(log: Log, attack: str) -> None:
    act, expected = ATTACKS[attack]
    act(log)
    found = verify_log(log.house)
    assert named(found) == expected
    assert not found.acceptable
    assert all(finding.detail for finding in found.findings)


def _at(seq: int) -> sa.Update:
    return audit_events.update().where(audit_events.c.seq == seq)


def _lie(log: Log) -> bytes:
    return altered(bodies(log.house)[BAD], after={"number": 1, "outcome": "never seen"})

"""The retention run: lists and destroys in different runs, acts only when told, stops at a wrong clock, tells all."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from pathlib import Path

import pytest

from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import BlockedByPolicy, ExitCode, LeaseHeld
from infra import audit_log
from infra.retention_tables import certificates, disposition_lists
from infra.settings import load_settings
from infra.tables import object_versions
from tasks.audit_verify import verify_log
from tasks.certificates import certificates_of
from tasks.reconcile import Kind, reconcile
from tasks.restore import restore
from tasks.retention_turn import Did
from tests.flows.retentions import approve, clock, days_pass, make_site, run
from tests.houses import COLLECTION, tiny_jpeg, write_settings
from tests.servers.seaweedfs import S3Server
from tests.tasks.disposals import World
from tests.tasks.steps import events, everything, rows


@pytest.fixture
def world(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_site(tmp_path / "site", ledger_url, monkeypatch)


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """On SQLite only."""
    root = tmp_path / "site"
    return make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch)


def test_lists_in_one_run_and_destroys_in_a_later_one(world: World) -> None:
    listed = run(world)
    assert [turn.did for turn in listed.turns] == [Did.LISTED]
    assert listed.counts()["listed"] == {
        "objects": 3,
        "bytes": sum(len(tiny_jpeg(n)) for n in range(3)),
    }
    assert (listed.exit_code, listed.problems) == (ExitCode.OK, [])
    approve(world)
    world.may_go = set(world.numbers)

    early = run(world)  # its grace has begun
    assert early.counts()["destroyed"]["objects"] == 0
    with clock(days_pass(world, 32)):
        done = run(world)
        again = run(world)
        verdict = verify_log(world.house)
    assert [turn.did for turn in done.turns] == [Did.CARRIED_OUT]
    assert done.counts()["destroyed"] == listed.counts()["listed"]
    assert done.counts()["reconciled"]["missing"] == done.counts()["reconciled"]["zombie"] == 0
    assert done.exit_code == ExitCode.OK, done.problems
    assert len(rows(world.house, certificates)) == 3
    assert again.counts()["destroyed"]["objects"] == again.counts()["listed"]["objects"] == 0
    assert world.violations() == []
    assert {finding.verdict for finding in verdict.findings} <= {Verdict.VALID, Verdict.NOT_YET_ANCHORED}
    assert [event["after"]["destroyed"]["objects"] for event in events(world.house, "retention.ended")] == [
        0,
        0,
        3,
        0,
    ]


def test_a_policy_whose_list_is_due_makes_no_other_one(world: World) -> None:
    world.list(world.numbers[:1])
    world.may_go = set(world.numbers[:1])
    first = run(world)
    assert [turn.did for turn in first.turns] == [Did.CARRIED_OUT]
    assert first.counts()["destroyed"]["objects"] == 1
    assert len(rows(world.house, disposition_lists)) == 1
    second = run(world)
    assert [turn.did for turn in second.turns] == [Did.LISTED]
    assert second.counts()["listed"]["objects"] == 2
    assert world.violations() == []


def test_without_act_nothing_is_written_and_the_same_is_told(world: World) -> None:
    before = everything(world.house)
    would = run(world, act=False)
    assert would.counts()["listed"]["objects"] == 3
    world.list(world.numbers[:2])
    listed = everything(world.house)
    assert run(world, act=False).counts()["destroyed"]["objects"] == 2
    assert everything(world.house) == listed != before
    assert all(world.present(number) for number in world.numbers)
    assert not list(world.house.archive.list("retention/"))


def test_an_old_list_expires_and_nothing_goes_by_it(plain: World) -> None:
    name = plain.list(plain.numbers, expires_at=audit_log.now() - timedelta(days=1))
    assert run(plain, act=False).expired == [name]
    done = run(plain)
    assert done.expired == [name]
    assert [turn.did for turn in done.turns] == [Did.LISTED]
    assert all(plain.present(number) for number in plain.numbers)


def test_a_clock_that_jumped_ends_the_run_before_it_writes(plain: World) -> None:
    plain.list(plain.numbers, expires_at=audit_log.now() + timedelta(days=20))
    before = everything(plain.house)
    with clock(audit_log.now() + timedelta(days=60)), pytest.raises(BlockedByPolicy, match="jumped ahead"):
        run(plain)
    assert everything(plain.house) == before


def test_two_runs_that_act_never_meet(plain: World) -> None:
    from flows.retention import SLOT
    from infra import leases

    with plain.house.ledger.write() as connection:
        leases.take(connection, plain.house.ledger, SLOT, "other", 60)
    with pytest.raises(LeaseHeld):
        run(plain)
    assert run(plain, act=False).counts()["listed"]["objects"] == 3


def test_settings_say_that_scheduled_runs_only_show(tmp_path: Path) -> None:
    found = load_settings(write_settings(tmp_path / "fwd2bot.toml")).retention
    assert (found.act, found.author, found.cron) == (False, None, "0 4 * * *")


def test_on_s3_from_night_to_certificate_and_back(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_server.make_bucket(f"originals-{secrets.token_hex(4)}", versioned=True)
    reached = {
        "endpoint": s3_server.endpoint,
        "region": s3_server.region,
        "addressing": "path",
        "versioned": True,
        "access_key_id": s3_server.access_key,
        "secret_access_key": s3_server.secret_key,
    }
    monkeypatch.setenv("FWD2BOT_COLLECTIONS", json.dumps({COLLECTION: {"s3": reached}}))
    root = tmp_path / "site"
    originals = {"originals": f"s3://{bucket}"}
    world = make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch, originals=originals)
    assert run(world).counts()["listed"]["objects"] == 3
    approve(world)
    with clock(days_pass(world, 32)):
        done = run(world)
        held = reconcile(world.house, COLLECTION)
        verdict = verify_log(world.house)
    assert (done.counts()["destroyed"]["objects"], done.exit_code) == (3, ExitCode.OK), done.problems
    assert (held.listed, held.critical, held.held_against) == (0, False, 3)
    assert "Versions" not in s3_server.client().list_object_versions(Bucket=bucket)
    assert {finding.verdict for finding in verdict.findings} <= {Verdict.VALID}
    (paper,) = certificates_of(world.house, "0.jpg")
    assert paper.bytes_are_gone

    copy = tmp_path / "tape.jpg"
    copy.write_bytes(tiny_jpeg(0))
    back = restore(world.house, "0.jpg", "Dee", copy=copy)
    assert s3_server.client().get_object(Bucket=bucket, Key="0.jpg")["Body"].read() == tiny_jpeg(0)
    assert back.identity != world.row(world.numbers[0]).identity
    assert not certificates_of(world.house, "0.jpg")[0].bytes_are_gone
    after = reconcile(world.house, COLLECTION)
    assert (after.counts[Kind.ORPHAN], after.critical, after.listed) == (0, False, 1)
    assert len(rows(world.house, object_versions)) == 4

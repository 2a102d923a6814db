"""`fwd2bot audit checkpoint`, the signature at the end of a night, and the audit flow on a real Prefect server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import split_note
from fwd2bot_core.errors import ExitCode
from infra.database import open_ledger
from infra.installation import Installation
from infra.settings import load_settings
from infra.tables import audit_events, audit_states, runs
from tests.houses import fwd2bot, lay_out, night, write_settings
from tests.infra.anchored import files, grow
from tests.servers import prefect
from tests.servers.intruder import as_intruder
from tests.servers.prefect import ask
from tests.tasks.steps import rows

VAULT = {"kind": "directory", "place": "vault"}
FAR = {"kind": "directory", "place": "far"}
BuildHouse = Callable[..., Installation]


@pytest.fixture
def anchored(house: BuildHouse, tmp_path: Path) -> Installation:
    for name in ("vault", "far"):
        (tmp_path / name).mkdir()
    lay_out(tmp_path / "photos", 3)
    return house(audit__anchors__vault=VAULT, audit__anchors__far=FAR)


def checkpoint(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return fwd2bot("audit", "checkpoint", "--config", config, *arguments)


def change_an_event(house: Installation, seq: int) -> None:
    with house.ledger.write() as connection:
        as_intruder(connection).execute(
            audit_events.update().where(audit_events.c.seq == seq).values(body=b"{}")
        )


# a night


def test_a_night_ends_signed_and_anchored(anchored: Installation, tmp_path: Path) -> None:
    summary = night(anchored)
    assert summary.audit is not None
    assert (summary.audit.anchors, summary.audit.failed) == (["vault", "far"], {})
    assert "NOT" not in summary.message
    said = Checkpoint.parse(split_note(files(tmp_path / "vault")["checkpoint"].decode())[0])
    with anchored.ledger.read() as connection:
        assert said.size == connection.execute(sa.select(sa.func.count()).select_from(audit_events)).scalar()
    assert said.size == summary.audit.signed


def test_a_night_is_no_worse_for_an_anchor_or_a_key_that_fails(
    anchored: Installation, tmp_path: Path
) -> None:
    (tmp_path / "far").rmdir()
    summary = night(anchored)
    assert (summary.compressed, summary.exit_code) == (3, ExitCode.OK)
    assert "audit log NOT YET ANCHORED at far (There is no folder" in summary.message
    assert summary.to_dict()["audit"]["anchors"] == ["vault"]
    (tmp_path / "audit-key").write_text("nonsense")
    lay_out(tmp_path / "photos", 2, start=3)
    summary = night(anchored)
    assert (summary.compressed, summary.exit_code) == (2, ExitCode.OK)
    assert "audit log NOT SIGNED" in summary.message


def test_a_changed_log_is_told_by_the_nights_exit_code(anchored: Installation, tmp_path: Path) -> None:
    night(anchored)
    grow(anchored, 2)
    with anchored.ledger.read() as connection:
        newest = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one()
    change_an_event(anchored, newest - 1)
    ended = fwd2bot("night", "--config", tmp_path / "fwd2bot.toml")
    assert ended.returncode == ExitCode.INTEGRITY
    assert "NOT SIGNED" in ended.stdout


def test_a_night_that_failed_is_signed_too(
    anchored: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("flows.nightly.publish", broken)
    with pytest.raises(RuntimeError):
        run_night(anchored.settings, None, SilentScreen())
    with anchored.ledger.read() as connection:
        assert connection.execute(sa.select(runs.c.state)).scalar_one() == "failed"
        size = connection.execute(sa.select(sa.func.count()).select_from(audit_events)).scalar()
    assert f"checkpoints/{size:020}" in files(tmp_path / "far")


# the verb


def test_the_verb_signs_shows_and_repeats_itself(anchored: Installation, tmp_path: Path) -> None:
    config = tmp_path / "fwd2bot.toml"
    first = checkpoint(config, "--json")
    assert (first.returncode, first.stderr) == (0, "")
    said = json.loads(first.stdout)
    assert (said["size"], said["failed"], said["warning"]) == (1, {}, None)
    assert said["anchored"].keys() == {"vault", "far"}
    assert files(tmp_path / "vault")["checkpoint"].decode() == said["note"]
    again = checkpoint(config)
    assert again.returncode == 0
    assert all(line in again.stdout for line in said["note"].splitlines())
    assert "warn" not in again.stdout.lower()
    assert "Only one" not in again.stdout


@pytest.mark.parametrize(("anchors", "said"), [(0, "No anchor is configured"), (1, "Only one anchor is")])
def test_too_few_anchors_are_warned_about(house: BuildHouse, tmp_path: Path, anchors: int, said: str) -> None:
    (tmp_path / "vault").mkdir()
    house(**({"audit__anchors__vault": VAULT} if anchors else {}))
    ended = checkpoint(tmp_path / "fwd2bot.toml")
    assert ended.returncode == 0
    assert said in ended.stdout


def test_an_anchor_that_fails_is_an_exit_code_of_its_own(anchored: Installation, tmp_path: Path) -> None:
    (tmp_path / "far").rmdir()
    ended = checkpoint(tmp_path / "fwd2bot.toml", "--json")
    assert ended.returncode == ExitCode.PARTLY_FAILED
    assert json.loads(ended.stdout)["failed"].keys() == {"far"}


def test_a_changed_log_is_not_signed(anchored: Installation, tmp_path: Path) -> None:
    night(anchored)
    grow(anchored)
    before = files(tmp_path / "vault")
    with anchored.ledger.read() as connection:
        newest = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one()
    change_an_event(anchored, newest)
    ended = checkpoint(tmp_path / "fwd2bot.toml")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (ExitCode.INTEGRITY, 1)
    assert f"event {newest} of the audit log is not what was logged" in ended.stderr
    assert files(tmp_path / "vault") == before


# the flow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect.private(tmp_path_factory.mktemp("prefect"), every_service=False) as url:
        yield url


@pytest.mark.prefect
@pytest.mark.slow
def test_the_flow_verifies_signs_and_says_what_is_wrong(
    server: str, anchored: Installation, tmp_path: Path
) -> None:
    config = tmp_path / "fwd2bot.toml"
    night(anchored)
    grow(anchored)
    name, message = prefect.ended("flows.prefect_audit", "audit", config)
    assert (name, "verified, and all of them signed" in message) == ("Completed", True), message
    lists = rows(anchored, audit_states)
    assert len(lists) == 1
    held = files(tmp_path / "vault")
    (tmp_path / "far").rename(tmp_path / "elsewhere")
    grow(anchored)
    name, message = prefect.ended("flows.prefect_audit", "audit", config)
    assert (name, "far: There is no folder" in message) == ("Failed", True), message
    assert rows(anchored, audit_states) == lists  # nothing new to list
    assert len(files(tmp_path / "vault")) > len(held)
    (tmp_path / "elsewhere").rename(tmp_path / "far")
    held = files(tmp_path / "vault")
    change_an_event(anchored, 2)
    name, message = prefect.ended("flows.prefect_audit", "audit", config)
    assert (name, message.startswith("MODIFIED at event 2")) == ("Failed", True), message
    assert "nothing was signed" in message
    assert files(tmp_path / "vault") == held


@pytest.mark.prefect
@pytest.mark.slow
def test_deploy_registers_the_audit_on_its_own_schedule(server: str, tmp_path: Path) -> None:
    config = write_settings(
        tmp_path / "a plant" / "fwd2bot.toml", audit={"cron": "45 6 * * *"}, night={"zone": "Asia/Tokyo"}
    )
    for expected in ("created", "unchanged"):
        ended = fwd2bot("deploy", "--json", "--config", config)
        assert ended.returncode == 0, ended.stderr
        changes = {change["name"]: change for change in json.loads(ended.stdout)["changes"]}
        [mine] = [name for name in changes if name.startswith("daily-a-plant-")]
        assert (changes[mine]["change"], changes[mine]["detail"]) == (expected, "45 6 * * * (Asia/Tokyo)")
    [made] = [one for one in ask(f"{server}/deployments/filter", {}) if one["name"] == mine]
    assert (made["entrypoint"], made["parameters"]) == ("flows.prefect_audit.audit", {"config": str(config)})
    assert made["tags"] == ["audit", "fwd2bot"]
    ended = fwd2bot("deploy", "--json", "--prune", "--close-stale", "--config", config)
    assert mine in {one["name"] for one in ask(f"{server}/deployments/filter", {})}
    assert load_settings(config).audit.cron == "45 6 * * *"


def test_the_ledger_stays_open_to_older_commands(anchored: Installation) -> None:
    """Signing leaves no transaction behind that others would wait for."""
    night(anchored)
    other = open_ledger(anchored.settings.archive.ledger, busy_seconds=0.5)
    with other.write() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(audit_events)).scalar()
    other.close()

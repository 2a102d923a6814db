"""An erasure from the command line, signed by OpenSSH itself: from the plan to the certificate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwd2bot_core.errors import ExitCode
from tests.flows.test_disposition import Shell
from tests.tasks.disposals import World
from tests.tasks.erasures import Place

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        yield Place(tmp_path_factory.mktemp("erase"), patch)


@pytest.fixture
def place(template: Place) -> Iterator[World]:
    made = template.world()
    yield made
    made.house.ledger.close()


@pytest.fixture
def shell(
    place: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FWD2BOT_CONFIG", str(place.root / "fwd2bot.toml"))
    made = Shell(tmp_path, capsys)
    made("people", "add", "gero", "--key", f"{made.key('gero')}.pub", "--role", "approver")
    assert made.code == ExitCode.OK, made.err
    return made


def test_from_the_plan_to_the_certificate(shell: Shell, place: World, tmp_path: Path) -> None:
    (tmp_path / "photos.txt").write_text("1.jpg\n\n")
    planned = json.loads(
        shell("erasure", "plan", "--list", "photos.txt", "--reason", "request 17", "--as", "Nika", "--json")
    )
    assert (shell.code, planned["objects"], planned["state"]) == (ExitCode.OK, 2, "planned")
    name = planned["id"]
    shell("erasure", "run", name)
    assert (shell.code, "planned, not approved" in shell.err) == (ExitCode.BLOCKED_BY_POLICY, True)
    said = shell.signed("gero", "erasure", "approve", name)
    assert "is approved: 2 photos" in said
    place.hold(place.numbers[1])
    assert "1.jpg: must stay: legal hold case" in shell("erasure", "run", name)
    assert shell.code == ExitCode.BLOCKED_BY_POLICY
    from infra.retention_tables import hold_members

    place.write(hold_members.delete())
    shown = json.loads(shell("erasure", "run", name, "--json"))
    assert "nothing is left in any store" in shell("erasure", "run", name, "--yes", shown["token"])
    assert "photos erased" in shell("erasure", "certificate", name)
    assert shell.json("erasure", "certificate", name)["objects"] == 2
    assert [one["state"] for one in shell.json("erasure", "list")] == ["done"]
    assert "request 17" in shell("erasure", "list")
    shell("show", "1.jpg")
    assert (shell.code, "nothing is known of '1.jpg'" in shell.err) == (ExitCode.FAILED, True)


def test_what_is_left_is_named(shell: Shell, place: World) -> None:
    name = shell.json("erasure", "plan", "0.jpg", "--reason", "r", "--as", "Nika")["id"]
    shell.signed("gero", "erasure", "approve", name)
    token = shell.json("erasure", "run", name)["token"]
    place.store.answers = {0: "lie"}
    assert "0.jpg: its store still holds it" in shell("erasure", "run", name, "--yes", token)
    assert shell.code == ExitCode.PARTLY_FAILED


def test_a_plan_may_be_refused(shell: Shell) -> None:
    name = shell.json("erasure", "plan", "0.jpg", "--reason", "r", "--as", "Nika")["id"]
    assert "is refused" in shell("erasure", "refuse", name, "--as", "Nika", "--reason", "withdrawn")
    shell("erasure", "plan", "--list", "no-such-file", "--reason", "r", "--as", "Nika")
    assert shell.code == ExitCode.USAGE

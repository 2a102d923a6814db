"""People, holds, policies and lists from the command line, signed by OpenSSH itself."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flows.cli import main
from fwd2bot_core.errors import ExitCode
from infra import audit_log
from infra.installation import Installation
from tests.tasks.dispositions import POLICY, WEEK, Site, clock, furnished, serious
from tests.tasks.steps import events

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
MEMBERS = {
    "oda": "operator", "pia": "policy_author", "ann": "approver", "ben": "approver", "nika": "compliance"
}  # fmt: skip


class Shell:
    """Runs verbs in one folder; signs what they leave there to be signed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *arguments: str | Path) -> str:
        """What the verb printed; ``code`` and ``err`` are those of the last one."""
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        shown = self._capsys.readouterr()
        self.code, self.out, self.err = int(ended.value.code or 0), shown.out, shown.err
        return self.out

    def json(self, *arguments: str | Path) -> object:
        return json.loads(self(*arguments, "--json"))

    def key(self, name: str) -> Path:
        file = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
        return file

    def sign(self, name: str) -> Path:
        """Exactly as the verb that was just run told somebody to."""
        line = next(line for line in self.out.splitlines() if "ssh-keygen -Y sign" in line)
        said = line.replace("~/.ssh/id_ed25519", str(self.folder / name)).split()
        subprocess.run(said, check=True, capture_output=True)
        return Path(f"{said[-1]}.sig")

    def signed(self, name: str, *arguments: str | Path) -> str:
        """A verb without, and then with a signature."""
        self(*arguments, "--as", name, "--reason", "I read it")
        assert (self.code, "nothing is decided yet" in self.out) == (0, True), self.err
        return self(*arguments, "--as", name, "--reason", "I read it", "--signature", self.sign(name))


@pytest.fixture
def site(house: Callable[..., Installation], monkeypatch: pytest.MonkeyPatch) -> Site:
    serious(monkeypatch)
    return furnished(house, 5)


@pytest.fixture
def shell(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """Everybody has a key of OpenSSH's, and is registered by the verb."""
    monkeypatch.chdir(tmp_path)
    made = Shell(tmp_path, capsys)
    for name, role in MEMBERS.items():
        made("people", "add", name, "--key", f"{made.key(name)}.pub", "--role", role)
        assert made.code == 0, made.err
    (tmp_path / "line-1.yaml").write_text(site.text())
    return made


def policy_in_force(shell: Shell) -> None:
    with clock(audit_log.now() - WEEK):
        assert "it needs 2 approvals and 7 days" in shell("policy", "draft", "line-1.yaml", "--as", "pia")
        assert "is draft" in shell.signed("ann", "policy", "approve", POLICY, "1")
        assert "is approved" in shell.signed("ben", "policy", "approve", POLICY, "1")
    assert "is active" in shell("policy", "activate", POLICY, "1", "--as", "pia")


def made(shell: Shell) -> str:
    (one,) = shell.json("disposition", "make", POLICY, "--as", "oda")
    return str(one["id"])


def test_from_a_policy_file_to_a_list_in_its_grace(shell: Shell, site: Site) -> None:
    policy_in_force(shell)
    assert "active" in shell("policy", "list")
    number = made(shell)
    assert "0 of 2" in shell("disposition", "lists")
    assert "list " + number + " is open" in shell.signed("ann", "disposition", "approve", number)
    shell("disposition", "approve", number, "--as", "ann", "--reason", "again")
    again = shell.sign("ann")
    shell("disposition", "approve", number, "--as", "ann", "--reason", "again", "--signature", again)
    assert (shell.code, "nobody counts twice" in shell.err) == (ExitCode.BLOCKED_BY_POLICY, True)
    assert "is grace" in shell.signed("ben", "disposition", "approve", number)
    shown = shell.json("disposition", "show", number)
    assert (shown["state"], shown["approvals"], shown["objects"]) == ("grace", 2, 5)
    assert [one["person"] for one in shown["signatures"]] == ["ann", "ben"]
    text = shell("disposition", "show", number)
    assert "2 of 2 approvals" in text
    assert "I read it" in text
    rows = list(csv.DictReader(io.StringIO(shell("disposition", "show", number, "--csv"))))
    assert [row["key"] for row in rows] == [f"{n:04}.jpg" for n in range(5)]
    assert "is refused" in shell.signed("nika", "disposition", "refuse", number)
    assert [e["after"]["state"] for e in events(site.house, "list.approved")] == ["open", "grace"]


def test_whose_signature_it_is_matters(shell: Shell, site: Site) -> None:
    policy_in_force(shell)
    number = made(shell)
    verb = ("disposition", "approve", number, "--as", "ben", "--reason", "r")
    shell(*verb)
    shell(*verb, "--signature", shell.sign("ann"))
    assert (shell.code, "another key" in shell.err) == (ExitCode.BLOCKED_BY_POLICY, True)
    shell("disposition", "approve", number, "--as", "oda", "--reason", "r")
    shell("disposition", "approve", number, "--as", "oda", "--reason", "r", "--signature", shell.sign("oda"))
    assert (shell.code, "is for approver" in shell.err) == (ExitCode.BLOCKED_BY_POLICY, True)
    shell(*verb, "--signature", "nothing.sig")
    assert (shell.code, "cannot be read" in shell.err) == (ExitCode.USAGE, True)
    assert len(events(site.house, "access.denied")) == 2


def test_a_rescue_is_one_command(shell: Shell) -> None:
    policy_in_force(shell)
    number = made(shell)
    assert "1 taken off" in shell("disposition", "rescue", number, "0002.jpg", "--as", "oda")
    assert shell.code == 0
    assert "rescued" in shell("disposition", "rescue", number, "0002.jpg", "--as", "oda")
    assert shell.code == ExitCode.BLOCKED_BY_POLICY
    shell("disposition", "rescue", number, "none.jpg", "--as", "oda")
    assert (shell.code, "nothing is known" in shell.err) == (ExitCode.FAILED, True)
    assert shell.json("disposition", "show", number)["states"] == {"listed": 4, "rescued (rescued)": 1}


def test_a_policy_that_did_not_cool_off_is_not_activated(shell: Shell) -> None:
    with clock(audit_log.now() - timedelta(days=6)):
        shell("policy", "draft", "line-1.yaml", "--as", "pia")
        shell.signed("ann", "policy", "approve", POLICY, "1")
        shell.signed("ben", "policy", "approve", POLICY, "1")
    shell("policy", "activate", POLICY, "1", "--as", "pia")
    assert (shell.code, "cools off until" in shell.err) == (ExitCode.BLOCKED_BY_POLICY, True)
    assert "is retired" in shell("policy", "retire", POLICY, "1", "--as", "nika", "--reason", "no")
    shell("disposition", "make", POLICY, "--as", "oda")
    assert (shell.code, "no version" in shell.err) == (ExitCode.BLOCKED_BY_POLICY, True)


def test_holds_are_placed_listed_and_released_by_a_signature(shell: Shell, site: Site) -> None:
    place = ("hold", "place", "--reason", "recall", "--as", "nika", "--case")
    assert "hold 1: 2 held" in shell(*place, "case-a", "0001.jpg", "0002.jpg")
    assert "hold 2: 5 held" in shell(
        *place, "case-b", "--keys", "*.jpg", "--collection", "line-1", "--confidential"
    )
    assert [one["case"] for one in shell.json("hold", "list")] == ["case-a"]
    everything = shell.json("hold", "list", "--as", "nika")
    assert [(one["case"], one["objects"], one["author"]) for one in everything] == [
        ("case-a", 2, "nika"),
        ("case-b", 5, "nika"),
    ]
    shell("hold", "list", "--as", "oda")
    assert shell.code == ExitCode.BLOCKED_BY_POLICY
    assert "is released" in shell.signed("nika", "hold", "release", "1")
    assert [one["released_at"] is not None for one in shell.json("hold", "list")] == [True]
    assert shell.json("hold", "mirror", "2")["store_told"] == 5
    for wrong in (["--keys", "*"], ["--keys", "no*", "--collection", "line-1"], ["none.jpg"], []):
        shell(*place, "case-c", *wrong)
        assert shell.code in {ExitCode.USAGE, ExitCode.FAILED}
    assert len(shell.json("hold", "list", "--as", "nika")) == 2


def test_people_are_listed_and_revoked_and_a_private_key_is_refused(shell: Shell) -> None:
    assert {one["name"] for one in shell.json("people", "list")} >= set(MEMBERS)
    assert "may do nothing any more" in shell("people", "revoke", "ben", "--reason", "left")
    assert [one["name"] for one in shell.json("people", "list") if one["revoked"]] == ["ben"]
    shell("people", "add", "eve", "--key", shell.key("eve"), "--role", "approver")
    assert (shell.code, "is a private key" in shell.err) == (ExitCode.USAGE, True)
    shell("people", "add", "eve", "--key", "ann.pub", "--role", "approver")
    assert (shell.code, "another person's" in shell.err) == (ExitCode.USAGE, True)

"""Dates, events and tags from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from fwd2bot_core.errors import ExitCode
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from tasks import people
from tests.houses import COLLECTION, night
from tests.tasks.signers import Signer

Run = Callable[..., str]


@pytest.fixture
def run(
    house: Callable[..., Installation],
    photos: Callable[..., list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    photos(3)
    made = house(**{f"collections.{COLLECTION}.capture": {"zone": "Asia/Tokyo"}})
    night(made)
    people.register(made.ledger, "Dee", Signer().public, [Role.DATA_TEAM])
    monkeypatch.chdir(tmp_path)

    def call(code: ExitCode, *arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["moments", *arguments])
        assert ended.value.code == code
        shown = capsys.readouterr()
        return shown.out + shown.err

    return call


def test_a_file_is_loaded_and_what_was_not_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "key,captured_at\n0000.jpg,2026-11-20\n0001.jpg,1970-01-01\nno.jpg,2026-11-20\n"
    )
    said = run(ExitCode.PARTLY_FAILED, "load", COLLECTION, "m.csv", "--as", "Dee")
    assert "1 written down, 0 were so already; 1 refused, 1 keys not known" in said
    assert "captured is too-old" in said
    assert "not known: no.jpg" in said
    found = json.loads(run(ExitCode.PARTLY_FAILED, "load", COLLECTION, "m.csv", "--as", "Dee", "--json"))
    assert (found["same"], found["unknown"]) == (1, ["no.jpg"])


def test_an_event_is_recorded_for_a_prefix(run: Run) -> None:
    said = run(
        ExitCode.OK, "record", COLLECTION, "--event", "end-of-production", "--at", "2026-11-30",
        "--prefix", "000", "--tag", "old", "--as", "Dee",
    )  # fmt: skip
    assert "3 written down" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prefix", "0"], "what happened"),
        (["--event", "sold", "--prefix", "0"], "--event and --at"),
        (["--event", "sold", "--at", "2026-11-30"], "say which photos"),
        (["--event", "Sold!", "--at", "2026-11-30", "--prefix", "0"], "no name of an event"),
        (["--tag", "x", "--prefix", "0*"], "it as --keys"),
    ],
)
def test_what_is_not_clear_is_not_done(run: Run, arguments: list[str], said: str) -> None:
    assert said in run(ExitCode.USAGE, "record", COLLECTION, "--as", "Dee", *arguments)


def test_reading_again_needs_a_rule(run: Run) -> None:
    assert "neither exif nor name" in run(ExitCode.USAGE, "read", COLLECTION, "--as", "Dee")

"""The verbs: a dry run, its token, destruction, the certificate; exit codes say how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from fwd2bot_core.errors import ExitCode
from tests.tasks.disposals import World, open_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_world(tmp_path / "w", monkeypatch) as made:
        yield made


def fwd2bot(world: World, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--config", str(world.root / "fwd2bot.toml")])
    return int(ended.value.code or 0)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_from_the_dry_run_to_the_certificate(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.list(world.numbers)
    assert fwd2bot(world, "disposition", "run", "list-1", "--json") == ExitCode.OK
    shown = said(capsys)
    assert (shown["dry_run"], len(shown["lines"]), shown["destroyed"]) == (True, 3, 0)
    assert all(map(world.present, world.numbers))
    assert fwd2bot(world, "disposition", "run", "list-1") == ExitCode.OK
    assert f"--yes {shown['token']}" in capsys.readouterr().out
    assert fwd2bot(world, "disposition", "run", "list-1", "--yes", "wrong") == ExitCode.USAGE
    assert all(map(world.present, world.numbers))
    capsys.readouterr()
    assert fwd2bot(world, "disposition", "run", "list-1", "--yes", shown["token"]) == ExitCode.OK
    assert "3 destroyed and confirmed by the store, 0 kept" in capsys.readouterr().out
    assert fwd2bot(world, "certificate", "0.jpg") == ExitCode.OK
    assert "fidelity 1.000000, measured against the original before it went" in capsys.readouterr().out
    assert fwd2bot(world, "certificate", "0.jpg", "--json") == ExitCode.OK
    assert said(capsys)[0]["bytes_are_gone"] is True
    assert world.violations() == []


def test_what_is_kept_ends_with_its_own_code(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.list(world.numbers)
    world.hold(world.numbers[0])
    assert fwd2bot(world, "disposition", "run", "list-1", "--json") == ExitCode.BLOCKED_BY_POLICY
    token = said(capsys)["token"]
    world.store.answers = {0: "timeout"}
    assert fwd2bot(world, "disposition", "run", "list-1", "--yes", token) == ExitCode.BLOCKED_BY_POLICY
    assert "1 are not decided" in capsys.readouterr().out
    assert world.states() == ["blocked", "unknown", "destroyed"]
    assert fwd2bot(world, "certificate", "0.jpg") == ExitCode.FAILED
    assert world.violations() == []

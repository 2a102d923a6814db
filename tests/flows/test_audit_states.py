"""The verbs about completeness, as a person and a program use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from fwd2bot_core.audit.states import Listed, Summit, secret_hash, verify_absent, verify_present
from fwd2bot_core.errors import ExitCode
from infra.installation import Installation
from tests.houses import COLLECTION, night


@pytest.fixture
def settings(house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    photos(5)[2].write_bytes(b"broken")
    night(house())
    return tmp_path / "fwd2bot.toml"


def say(settings: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["audit", *words, "--config", str(settings)])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out + shown.err


def listed(said: dict[str, Any] | None) -> Listed | None:
    if said is None:
        return None
    return Listed(said["index"], said["line"].encode(), tuple(map(bytes.fromhex, said["proof"])))


def summit(said: dict[str, Any]) -> Summit:
    """From the event alone, as a stranger takes it."""
    after = json.loads(said["event"])["after"]
    return Summit(after["rows"], bytes.fromhex(after["root"]), after["secret_sha256"])


def test_a_list_then_both_proofs(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = say(settings, capsys, "whole", "0001.jpg")
    assert (code, "fwd2bot audit state" in shown) == (ExitCode.USAGE, True)
    code, shown = say(settings, capsys, "state")
    assert (code, "5 facts about 5 object versions" in shown) == (0, True)
    code, shown = say(settings, capsys, "whole", "0001.jpg")
    assert (code, f"0001.jpg in {COLLECTION}" in shown, "whole. Facts: 1; by" in shown) == (0, True, True)
    assert "compressed" in shown
    assert "rejected" in say(settings, capsys, "whole", "0002.jpg")[1]
    code, shown = say(settings, capsys, "absent", "9999.jpg")
    assert (code, "absent from the 5 object versions" in shown) == (0, True)
    assert say(settings, capsys, "absent", "0001.jpg")[0] == ExitCode.FAILED
    assert say(settings, capsys, "whole", "9999.jpg")[0] == ExitCode.FAILED


def test_what_json_says_is_enough_to_check_it(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = json.loads(say(settings, capsys, "state", "--role", "compliance", "--json")[1])
    assert (taken["rows"], taken["facts"]) == (5, 5)
    (whole,) = json.loads(say(settings, capsys, "whole", "0001.jpg", "--json")[1])
    name = (whole["collection"], whole["key"], whole["identity"])
    secret, mine = bytes.fromhex(whole["list"]["secret"]), listed(whole["listed"])
    assert mine is not None
    assert secret_hash(secret) == summit(whole["list"]).secret_sha256
    assert verify_present(summit(whole["list"]), secret, *name, mine).n == 1
    assert [fact["n"] for fact in whole["facts"]] == [0]
    absent = json.loads(say(settings, capsys, "absent", "nothing.jpg", "--json")[1])
    sides = listed(absent["before"]), listed(absent["after"])
    verify_absent(summit(absent["list"]), secret, COLLECTION, "nothing.jpg", *sides)


def test_a_name_with_a_line_break_stays_on_its_line(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(settings, capsys, "state")
    _, shown = say(settings, capsys, "absent", "a\nb: whole.jpg")
    assert "a\\nb: whole.jpg" in shown

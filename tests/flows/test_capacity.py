"""``fwd2bot plan --images`` needs no settings, no store and no ledger, and says what it reckons with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.capacity import many
from flows.cli import main
from fwd2bot_core.errors import ExitCode, UsageError

ASKED = ["plan", "--images", "100M", "--gpus", "64", "--model", "llava-1.5-7b"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    with pytest.raises(SystemExit) as ended:
        main([*words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_plan_without_any_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, said, _ = run(capsys, *ASKED)
    assert code == 0
    assert said.startswith("100,000,000 images on 64 GPU(s) take ")
    for word in ("GPU-hours", "requests", "database grows by", "measured", "assumed", "no price is given"):
        assert word in said
    assert list(tmp_path.iterdir()) == []


def test_as_json_with_prices_and_better_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[prices]\ngpu_hour = "2"\n')
    better = ["--set", "image_bytes=300e3", "--set", "images_a_second.llava-1.5-7b=10"]
    code, said, _ = run(capsys, *ASKED, *better, "--prices", "prices.toml", "-o", "plan.html", "--json")
    found = json.loads(said)
    assert code == 0
    assert found["phases"]["forward"]["seconds"] == 1e8 / 640
    assert found["bytes"]["in"] == 3e13
    assert float(found["money"][0]["amount"]) == pytest.approx(2 * found["gpu_hours"])
    assert "given" in {figure["kind"] for figure in found["figures"]}
    assert "100,000,000 images" in (tmp_path / "plan.html").read_text()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--images", "many"], "many"),
        (["--images", "0"], "at least 1"),
        (["--images", "1M", "--model", "llava-9"], "llava-9"),
        (["--images", "1M", "--set", "image_bytes"], "NAME=NUMBER"),
        (["--images", "1M", "--set", "bytes=1"], "bytes"),
        (["--images", "1M", "--prices", "none.toml"], "none.toml"),
        (["--images", "1M", "-o", "missing/plan.html"], "missing"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    code, said, error = run(capsys, "plan", *words)
    assert code in (ExitCode.USAGE, ExitCode.FAILED)
    assert (said, error.count("\n")) == ("", 1)
    assert named in error


@pytest.mark.parametrize(
    ("text", "number"),
    [("5000", 5000), ("100M", 10**8), ("1e9", 10**9), ("2.5G", 25 * 10**8), ("10k", 10**4), ("1_000", 1000)],
)
def test_counts_as_people_write_them(text: str, number: int) -> None:
    assert many(text, "--images") == number


@pytest.mark.parametrize("text", ["", "-1", "1e-3", "3T", "one", "1M2"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--images"):
        many(text, "--images")

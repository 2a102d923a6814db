"""`fwd2bot fidelity` and `fwd2bot check-labels`, as people and scripts meet them; the docs' worked example."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.judging import _apart
from fwd2bot_core.compressor.scoring import wilson
from infra import archive
from infra.installation import Installation
from tests.houses import COLLECTION, night

DOCS = Path(__file__).parents[2] / "docs" / "fidelity.md"
Run = Callable[..., "Ended"]
BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process, on the house of the test."""

    def call(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", str(tmp_path / "fwd2bot.toml")])
        return Ended(int(ended.value.code or 0), capsys.readouterr().out)

    return call


@pytest.fixture
def made(house: BuildHouse, photos: Photos) -> Installation:
    photos(5)
    installation = house()
    night(installation)
    return installation


def test_fidelity_tells_people_and_machines(made: Installation, run: Run, tmp_path: Path) -> None:
    ended = run("fidelity", COLLECTION, "0001.jpg", "0002.jpg")
    assert ended.code == 0
    assert "2 judged, mean 1.000, 0 below 0.9" in ended.out
    told = run("fidelity", "--json").json
    assert {
        name: told[name] for name in ("collection", "threshold", "judged", "below", "mean", "lowest")
    } == {
        "collection": COLLECTION,
        "threshold": 0.9,
        "judged": 5,
        "below": 0,
        "mean": 1.0,
        "lowest": 1.0,
    }
    assert len(told["images"]) == 5
    (tmp_path / "photos" / "0003.jpg").unlink()
    ended = run("fidelity")
    assert ended.code == 3
    assert "vanished" in ended.out
    assert run("fidelity", COLLECTION, "unknown.jpg").code == 1


def test_fidelity_below_the_threshold_is_4(
    made: Installation,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = archive.many_tokens
    monkeypatch.setattr(archive, "many_tokens", lambda house, wanted: kept(house, wanted) * 0)
    ended = run("fidelity")
    assert ended.code == 4
    assert "5 below 0.9" in ended.out
    assert run("fidelity", "--at-least", "0").code == 0


def test_check_labels_tells_people_and_machines(made: Installation, run: Run, tmp_path: Path) -> None:
    said = {f"{n:04}.jpg": archive.ask(made, f"{n:04}.jpg", "which lot ?")[1].text for n in range(5)}
    labels = [{"key": key, "question": "which lot ?", "answer": text} for key, text in said.items()]
    labels[4]["answer"] = "[bold]x"
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(map(json.dumps, labels)))
    ended = run("check-labels", COLLECTION, str(file))
    assert ended.code == 0
    assert re.search(r"all +│? *4 +│? *5 +│? *0.800", ended.out)
    assert "[bold]x" in ended.out
    assert run("check-labels", COLLECTION, str(file), "--at-least", "0.3").code == 0
    ended = run("check-labels", COLLECTION, str(file), "--at-least", "0.8")
    assert ended.code == 4
    assert "not passed" in ended.out
    told = run("check-labels", COLLECTION, str(file), "--json").json
    assert (told["right"], told["questions"], told["accuracy"], told["passed"]) == (4, 5, 0.8, None)
    file.write_text(file.read_text() + '\n{"key": "gone.jpg", "question": "which lot ?", "answer": "bolt"}\n')
    assert run("check-labels", COLLECTION, str(file)).code == 3
    assert run("check-labels", COLLECTION, str(tmp_path / "none.jsonl")).code == 2


def test_two_long_answers_are_shown_where_they_part() -> None:
    assert _apart("yes", "no") == ("yes", "no")
    assert _apart("a b c d bag", "a b c d boot") == ("… d bag", "… d boot")
    assert _apart("same words here", "same words here") == ("same words here",) * 2
    assert all(len(text) <= 28 for text in _apart("x" * 50, "y z " * 20))


AROUND_THE_DOCS = """
[compressor]
bundle = "fake"
[execution]
executor = "inline"
[night]
engine = "direct"
"""


def test_the_worked_example_of_the_docs_works(run: Run, photos: Photos, tmp_path: Path) -> None:
    """Its settings, its labels and its commands, word for word; only the answers are a fake compressor's."""
    blocks = dict(re.findall(r"```(toml|jsonl)\n(.*?)```", DOCS.read_text(), re.DOTALL))
    commands = re.findall(r"^\$ fwd2bot ([^#\n]+)", DOCS.read_text(), re.MULTILINE)
    photos(3)
    (tmp_path / "fwd2bot.toml").write_text(blocks["toml"] + AROUND_THE_DOCS)
    labels = tmp_path / "labels.jsonl"
    labels.write_text(blocks["jsonl"])
    night = run("night", "--json").json
    assert (night["fidelity"]["judged"], night["fidelity"]["threshold"]) == (3, 0.92)
    ended = [run(*shlex.split(command.replace("labels.jsonl", str(labels)))) for command in commands]
    assert [one.code for one in ended] == [0, 0, 4]
    assert "mean 1.000, 0 below 0.92" in ended[0].out
    assert "b2." in ended[1].out  # of a probe that the docs name
    for shown in ("content", "defect", "all", "95 % interval", "asked for was 0.95"):
        assert shown in ended[2].out


def test_the_docs_say_how_many_labels_it_takes() -> None:
    said = re.findall(r"(0\.\d+) needs (\d+) labels|and (0\.\d+) needs (\d+)", DOCS.read_text())
    pairs = [(float(a or c), int(b or d)) for a, b, c, d in said]
    assert len(pairs) == 2
    for share, labels in pairs:
        assert wilson(labels - 1, labels - 1)[0] < share <= wilson(labels, labels)[0]

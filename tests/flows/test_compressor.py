"""The verbs about compressors, and the worked example of docs/compressor.md, word for word but smaller."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from rich.console import Console

from flows.cli import main
from flows.figures import show_figures
from flows.training_screen import BarScreen
from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.compressor.training.config import TrainingConfig
from fwd2bot_core.compressor.training.loop import Progress, Recipe
from fwd2bot_core.compressor.view import View
from tests.core.compressor import models
from tests.core.compressor.training import worlds

DOC = Path(__file__).parents[2] / "docs" / "compressor.md"
CONFIG = """
base = "base"
output = "run"
name = "tuned"
data.train = ["data.jsonl"]
data.held_out = 0.3
method.nested_k = [1]
training = { steps = 2, batch = 3, report_every = 1 }
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    worlds.write(folder, 10)
    models.saved(folder / "base")
    made = bundle.load_bundle(folder / "base")
    probes = [Probe.make(made, models.image(9), "how many items ?").as_json()]
    bundle.add_files(folder / "base", {bundle.PROBES: manifest.canonical({"probes": probes})})
    (folder / "train.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def run(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(world)

    def call(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line))
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_train_evaluate_and_show(run: Any) -> None:
    code, out, err = run("compressor train train.toml")
    assert (code, err) == (0, "")
    assert "tuned 1/2 " in out
    assert "from tokens 3" in out
    code, out, _ = run("compressor train train.toml --json")
    trained = json.loads(out)
    assert trained["bundle"] == str(Path.cwd() / "run" / "bundle")
    code, out, _ = run("compressor evaluate run/bundle --json")
    assert json.loads(out) == {**trained, "bundle": "run/bundle"}
    code, out, _ = run("compressor evaluate run/bundle")
    assert "recall among" in out
    assert trained["fingerprint"][:20] in out


def test_evaluate_on_data_asks_every_question_at_every_k(run: Any) -> None:
    run("compressor train train.toml --json")
    code, out, _ = run("compressor evaluate run/bundle --data data.jsonl --json")
    found = json.loads(out)
    assert code == 0
    assert {kind: row["questions"] for kind, row in found["accuracy"].items()} == {
        "all": 20,
        "count": 10,
        "cell": 10,
    }
    assert set(found["accuracy"]["all"]["from_tokens"]) == {"3", "1"}
    low, high = found["accuracy"]["all"]["from_image"]["interval"]
    assert 0 <= low <= found["accuracy"]["all"]["from_image"]["share"] <= high <= 1
    few = json.loads(run("compressor evaluate run/bundle --data data.jsonl --limit 7 --json")[1])
    assert few["accuracy"]["all"]["questions"] == 7


def test_evaluate_looks_as_a_file_says(run: Any, world: Path) -> None:
    (world / "tiles.toml").write_text(CONFIG + "view = { tiles = [2, 1] }\n")
    line = "compressor evaluate base --data data.jsonl --limit 4 --json"
    own, tiled = (json.loads(run(line + more)[1]) for more in ("", " --view tiles.toml"))
    view = View(tiles=(2, 1))
    assert own["fingerprint"] == bundle.load_bundle(world / "base").spec.fingerprint
    assert tiled["fingerprint"] == bundle.load_bundle(world / "base", view=view).spec.fingerprint
    assert tiled["accuracy"]["all"]["questions"] == 4


def test_show_says_what_it_is_and_notices_a_change(run: Any, world: Path) -> None:
    code, out, _ = run("compressor show base --json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["k"], shown["d"], shown["bytes_an_image"], shown["dtype"]) == (3, 16, 192, "float32")
    assert shown["probes"] == {"whole": True, "findings": []}
    probes = json.loads((world / "base" / bundle.PROBES).read_bytes())
    probes["probes"][0]["answer"] = "something else"
    bundle.add_files(world / "base", {bundle.PROBES: manifest.canonical(probes)})
    code, out, _ = run("compressor show base")
    assert code == 5
    assert "something else" in out


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("compressor train nowhere.toml", 2, "cannot read nowhere.toml"),
        ("compressor evaluate base", 2, "carries no figures of its own: measure with --data"),
        ("compressor evaluate nowhere", 1, "is no bundle"),
        ("compressor evaluate base --view train.toml", 2, "say --data, too"),
        ("compressor evaluate base --data data.jsonl --view train.toml", 2, "train.toml: view is missing"),
        ("compressor evaluate base --data data.jsonl --view data.jsonl", 2, "data.jsonl is no TOML"),
        ("compressor evaluate base --data nowhere.jsonl", 2, "nowhere.jsonl does not exist"),
        ("compressor evaluate base --data data.jsonl --device moon", 2, "device 'moon' cannot be used"),
        ("compressor show nowhere", 1, "is no bundle"),
        ("compressor evaluate base --limit 0", 2, ""),
    ],
)
def test_errors_are_one_sentence(run: Any, line: str, code: int, says: str) -> None:
    ended, _, err = run(line)
    assert ended == code
    assert says in err
    assert not says or (err.startswith("fwd2bot: ") and len(err.strip().splitlines()) == 1)


def test_a_terminal_gets_a_bar_with_the_losses() -> None:
    console = Console(force_terminal=True, width=100, record=True)
    recipe = Recipe("tuned", steps=4, minutes=1, rate=1, batch=1)
    with BarScreen(console) as shown:
        shown.began(recipe, Progress(step=1))
        shown.noted("a [note]")
        shown.stepped(recipe, Progress(step=2))
        shown.reported(recipe, Progress(step=2), {"answers": 0.5})
        shown._bar.refresh()
    said = console.export_text()
    for part in ("note: a [note]", "2/4", "tuned  answers 0.500"):
        assert part in said


def test_figures_of_any_kind_become_tables(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {
        "rows": {"a": {"x": 0.25, "by_k": {"8": 1}}, "b": {"x": 0.5, "by_k": {"8": 2}}},
        "nested": {"value": None, "several": [1, "two"]},
        "share": {"share": 0.5, "interval": [0.4, 0.6]},
    }
    show_figures(Console(width=100), "it", figures)
    shown = capsys.readouterr().out
    assert re.search(r"│ a +│ 0.250 │ +1 │", shown)
    assert re.search(r"nested: several +1, two", shown)
    assert "0.500 (0.400 to 0.600)" in shown


# --- the documentation


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOC.read_text(), re.MULTILINE | re.DOTALL)


def test_the_worked_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    monkeypatch.chdir(tmp_path)
    config = blocks("toml")[0]
    for large, small in {
        "steps = 120": "steps = 2",
        "batch = 32": "batch = 4",
        "_batch = 64": "_batch = 6",
    }.items():
        assert large in config
        config = config.replace(large, small)
    Path("train.toml").write_text(config)
    said = ""
    for line in "".join(blocks("bash")).splitlines():
        code, out, err = run(line.removeprefix("fwd2bot ").replace("--images 300", "--images 8"))
        assert (code, err) == (0, ""), line
        said += out
    figures = json.loads(said.splitlines()[-1])
    assert set(figures["accuracy"]["all"]["from_tokens"]) == {str(bundle.read_spec("nano").k), "4", "2"}
    row = json.loads(blocks("json")[0])
    assert row.keys() <= json.loads(Path("demo/labels.jsonl").read_text().splitlines()[0]).keys() | {"key"}


def test_every_setting_stands_in_the_document_and_no_other() -> None:
    section = DOC.read_text().split("## Settings")[1]
    first_cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    written = {name for cell in first_cells for name in re.findall(r"`([a-z_.]+)`", cell)}
    assert written == set(settings(TrainingConfig)) - {"view.k"}


def settings(model: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        section = isinstance(inner, type) and issubclass(inner, BaseModel)
        names += settings(inner, f"{prefix}{name}.") if section else [prefix + name]
    return names


def test_the_larger_example_is_a_configuration(tmp_path: Path) -> None:
    from fwd2bot_core.compressor.training.config import read

    (tmp_path / "large.toml").write_text(blocks("toml")[1])
    assert read(tmp_path / "large.toml").training.chunk == 16

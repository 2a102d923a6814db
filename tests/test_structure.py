"""The house's own rules: floors, sizes of files and functions, rooms with a name, what ships."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = ("fwd2bot_core", "infra", "tasks", "flows")
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_go_down_the_stairs_only() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 broken" in ended.stdout


def test_there_is_something_to_look_at() -> None:
    assert len(SOURCES) > 60
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(FLOORS)


def test_files_are_short_enough_to_be_read() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in [*SOURCES, *TESTS]}
    del lengths["fwd2bot_core/audit/verifier/verify.py"]  # travels alone, so it cannot be several files
    assert {
        name: lines for name, lines in lengths.items() if lines > (600 if "tests/" in name else 400)
    } == {}


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{named(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        if "versions" not in path.parts  # a migration is one long list
        for node in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_modules_say_what_they_know() -> None:
    trees = {named(path): ast.parse(path.read_text()) for path in SOURCES}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_no_room_is_called_miscellaneous() -> None:
    nameless = {"utils", "util", "common", "helpers", "helper", "misc", "shared", "base"}
    assert [named(path) for path in [*SOURCES, *TESTS] if path.stem in nameless] == []


def test_nothing_is_left_for_later() -> None:
    later = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
    found = [
        f"{named(path)}: {word}" for path in [*SOURCES, *TESTS] for word in later if word in path.read_text()
    ]
    assert found == []


def test_every_floor_below_the_flows_has_tests_that_mirror_it() -> None:
    """At least a test file for each task and for each module of infra that holds more than names."""
    tested = {path.stem.removeprefix("test_") for path in TESTS}
    untested = {path.stem for path in (ROOT / "tasks").glob("*.py")} - tested - {"__init__"}
    assert untested <= {
        "summary",
        "units",
        "plots",
        "kpi_plots",
        "sample",
        "rotate_key",
    }  # tested through runs, report and the command line


def test_the_wheel_holds_what_the_code_reads(tmp_path: Path) -> None:
    """Built from a copy, so that no old build folder helps it."""
    copy = tmp_path / "source"
    copy.mkdir()
    for floor in FLOORS:
        shutil.copytree(ROOT / floor, copy / floor, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    program = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", program, "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    built = tmp_path / "built"
    shipped = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    wanted = {named(path) for path in SOURCES}
    for folder in ("fwd2bot_core/compressor/nano/bundle", "tasks/templates", "flows/console/templates"):
        wanted |= {named(path) for path in (ROOT / folder).iterdir()}
    assert wanted - shipped == set()
    assert {"fwd2bot_core/py.typed", "fwd2bot_core/capacity/figures.json"} <= shipped

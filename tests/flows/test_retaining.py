"""The verbs of retention, and the run as a Prefect flow with a deployment of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from infra.installation import Installation
from infra.tables import audit_events
from tests.flows.retentions import make_site
from tests.houses import fwd2bot, night, tiny_jpeg, write_settings
from tests.servers import prefect
from tests.servers.prefect import ask
from tests.tasks.disposals import World
from tests.tasks.steps import everything, rows


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    root = tmp_path / "site"
    return make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch)


def said(world: World, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed, of a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--config", str(world.root / "fwd2bot.toml")])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out + printed.err


def test_a_run_shows_first_and_acts_when_told(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = everything(world.house)
    code, text = said(world, capsys, "retention", "run")
    assert (code, "3 would be listed" in text) == (0, True), text
    assert said(world, capsys, "retention", "run", "--no-dry-run")[0] == 2
    assert everything(world.house) == before
    code, text = said(
        world, capsys, "retention", "run", "--yes", "--as", "Oda", "--json", "--out", str(tmp_path / "o")
    )
    told = json.loads(text)
    assert (code, told["exit_code"], told["counts"]["listed"]["objects"]) == (0, 0, 3)
    assert sorted(path.suffix for path in (tmp_path / "o").iterdir()) == [".csv", ".html", ".txt"]


def test_reconcile_tells_by_exit_code_and_writes_an_event(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = said(world, capsys, "retention", "reconcile", "--json")
    assert (code, json.loads(text)[0]["counts"]) == (
        0,
        {"missing": 0, "zombie": 0, "orphan": 0, "unclear": 0},
    )
    world.store.create("new.jpg", tiny_jpeg(90))
    world.store.before = lambda info: None
    world.store.delete_version(world.store.stat("0.jpg"))
    code, text = said(world, capsys, "retention", "reconcile")
    assert (code, "missing: 0.jpg" in text, "orphan: new.jpg" in text) == (5, True, True), text
    assert said(world, capsys, "retention", "reconcile", "--sample", "50")[0] == 5
    assert [row.type for row in rows(world.house, audit_events)].count("originals.reconciled") == 2


def test_restore_says_what_came_back(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    world.list(world.numbers[:1])
    world.may_go = set(world.numbers[:1])
    assert world.run().destroyed == 1
    copy = tmp_path / "tape.jpg"
    copy.write_bytes(tiny_jpeg(0))
    command = ("restore", "0.jpg", "--from", str(copy), "--as")
    assert said(world, capsys, *command, "Oda")[0] == 4
    code, text = said(world, capsys, *command, "Dee")
    assert (code, "0.jpg in line-1 is back" in text) == (0, True), text
    assert world.store.read("0.jpg") == tiny_jpeg(0)


# the flow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect.private(tmp_path_factory.mktemp("prefect"), every_service=False) as url:
        yield url


@pytest.mark.prefect
@pytest.mark.slow
def test_the_flow_shows_and_fails_when_an_original_is_gone(
    server: str, house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    made = photos(3)
    opened = house()
    night(opened)
    before = everything(opened)
    name, message = prefect.ended("flows.prefect_retention", "retention", tmp_path / "fwd2bot.toml")
    assert (name, message.startswith("0 originals would be destroyed")) == ("Completed", True), message
    made[0].unlink()
    name, message = prefect.ended("flows.prefect_retention", "retention", tmp_path / "fwd2bot.toml")
    assert (name, "line-1: 1 originals missing" in message) == ("Failed", True), message
    assert everything(opened) == before
    assert {one["key"] for one in ask(f"{server}/artifacts/filter", {})} >= {"retention"}


@pytest.mark.prefect
@pytest.mark.slow
def test_deploy_registers_it_on_its_own_schedule(server: str, tmp_path: Path) -> None:
    config = write_settings(tmp_path / "plant" / "fwd2bot.toml", night={"zone": "Asia/Tokyo"})
    for expected in ("created", "unchanged"):
        ended = fwd2bot("deploy", "--json", "--config", config)
        assert ended.returncode == 0, ended.stderr
        changes = {change["name"]: change for change in json.loads(ended.stdout)["changes"]}
        [mine] = [name for name in changes if name.startswith("retention-plant-")]
        assert (changes[mine]["change"], changes[mine]["detail"]) == (expected, "0 4 * * * (Asia/Tokyo)")
    made: list[dict[str, Any]] = ask(f"{server}/deployments/filter", {})
    [one] = [one for one in made if one["name"] == mine]
    assert (one["entrypoint"], one["parameters"]) == (
        "flows.prefect_retention.retention",
        {"config": str(config)},
    )
    assert one["tags"] == ["fwd2bot", "retention"]

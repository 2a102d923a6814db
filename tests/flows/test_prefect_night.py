"""The night as a Prefect flow: the real command against a real server that lives for these tests.

The command runs in a process of its own and the server is asked over HTTP, because Prefect's client leaves
sockets open, which would fail whatever test comes next.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import engine
from infra.installation import Installation
from infra.settings import Settings
from tasks.runs import begin
from tests.houses import COLLECTION, compressed_once, fwd2bot

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a private server with a fresh database; nothing is sent anywhere."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patched:
        for name in [*os.environ]:
            if name.startswith("PREFECT_"):
                patched.delenv(name)
        patched.setenv("PREFECT_HOME", str(home))
        settings = Settings(archive={"ledger": f"sqlite:///{home}/ledger.sqlite"})
        for name, value in engine._DEFAULTS.items():
            patched.setenv(name, value)
        engine.prepare_environment(settings)
        with engine._server() as url:
            patched.setenv("PREFECT_API_URL", url)
            yield url


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def last_run(server: str) -> Any:
    return ask(f"{server}/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})[0]


def artifact(server: str) -> str:
    return str(ask(f"{server}/artifacts/night-{COLLECTION}/latest")["data"])


@pytest.fixture
def build(house: BuildHouse) -> BuildHouse:
    return lambda: house(night={"engine": "prefect", "batch_size": 20, "smallest_batch": 20})


def test_a_whole_night_is_completed_with_its_summary_as_an_artifact(
    server: str, build: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(25)
    installation = build()
    ended = fwd2bot("night", "--json", "--config", tmp_path / "fwd2bot.toml")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["compressed"] == 25
    assert compressed_once(installation) == 25
    run = last_run(server)
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    assert (run["state"]["message"], run["parameters"]["collection"]) == ("25 compressed", COLLECTION)
    assert "| compressed | 25 |" in artifact(server)
    steps = ask(f"{server}/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {step["name"].rpartition("-")[0] for step in steps} == {
        "discover",
        "write plan",
        "compress plan",
        "publish",
        "sweep",
    }


def test_a_partly_failed_night_is_no_success_and_names_what_failed(
    server: str, build: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(5)[3].write_bytes(b"broken")
    build()
    ended = fwd2bot("night", "--config", tmp_path / "fwd2bot.toml")
    assert ended.returncode == 3, ended.stderr
    assert "0003.jpg" in ended.stdout
    run = last_run(server)
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Partly Failed")
    assert "1 failed (not_an_image 1)" in run["state"]["message"]
    assert "0003.jpg" in artifact(server)


def test_a_night_beside_another_is_refused_by_our_own_lease(
    server: str, build: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(3)
    begin(build(), COLLECTION)
    ended = fwd2bot("night", "--config", tmp_path / "fwd2bot.toml")
    assert ended.returncode == 1
    assert ended.stderr.startswith("fwd2bot: run night-")
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    run = last_run(server)
    assert run["state_type"] == "FAILED"
    assert "is working on collection:" in run["state"]["message"]

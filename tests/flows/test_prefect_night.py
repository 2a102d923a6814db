"""The night as a Prefect flow: the real command against a real server that lives for these tests.

The command runs in a process of its own and the server is asked over HTTP, because Prefect's client leaves
sockets open, which would fail whatever test comes next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.installation import Installation
from infra.tables import runs
from tasks.runs import begin
from tests.houses import COLLECTION, command, compressed_once, fwd2bot
from tests.servers import prefect
from tests.servers.prefect import ask, until
from tests.tasks.steps import rows

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a private server with a fresh database; nothing is sent anywhere."""
    with prefect.private(tmp_path_factory.mktemp("prefect"), every_service=True) as url:
        yield url


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
        "find new",
        "write plan",
        "compress plan",
        "publish",
        "sweep",
        "sign",
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


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- serve


def test_serve_shows_progress_and_ends_quietly(
    server: str, build: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(5)[3].write_bytes(b"broken")
    build()
    out, err = tmp_path / "out", tmp_path / "err"
    environment = {**os.environ, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with out.open("w") as said, err.open("w") as logged:
        serving = subprocess.Popen(
            command("serve", "--config", tmp_path / "fwd2bot.toml"),
            env=environment,
            stdout=said,
            stderr=logged,
            start_new_session=True,
        )
        try:
            until(lambda: "Ctrl-C ends it" in out.read_text() or serving.poll() is not None)
            every = until(
                lambda: len(found := ask(f"{server}/deployments/filter", {"sort": "NAME_ASC"})) == 3 and found
            )
            audit, deployed, retention = every
            run = ask(
                f"{server}/deployments/{deployed['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}}
            )
            ended = until(
                lambda: (now := ask(f"{server}/flow_runs/{run['id']}"))["state_type"] == "FAILED" and now
            )
            until(lambda: "Finished in state" in err.read_text())
            until(
                lambda: not psutil.Process(serving.pid).children()
            )  # the run's own process ends quietly, too
            os.killpg(serving.pid, signal.SIGINT)
            assert serving.wait(120) == 0
        finally:
            serving.kill()
            serving.wait()
    assert (ended["name"], ended["state_name"]) == (f"night {COLLECTION}", "Partly Failed")
    assert "nights of line-1 at '0 1 * * *' (UTC), the audit at '30 5 * * *'" in out.read_text()
    assert [one["name"].split("-")[0] for one in (audit, deployed, retention)] == [
        "daily", "nightly", "retention",
    ]  # fmt: skip
    assert audit["schedules"][0]["schedule"]["cron"] == "30 5 * * *"
    assert "listed 5 images, 5 new" in err.read_text()
    assert "4 compressed, 1 failed (not_an_image 1)" in err.read_text()
    assert "Traceback" not in err.read_text()


# --- private servers


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No server is configured; what private ones migrate once serves all of these tests."""
    for name in [*os.environ]:
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "private-prefect"
    monkeypatch.setenv("PREFECT_HOME", str(home))


def test_a_private_server_ends_with_a_killed_command(private: None) -> None:
    program = (
        "import os, flows.prefect_server as ours\n"
        "real = ours._start\n"
        "def start(*given):\n"
        "    process = real(*given)\n"
        "    print(process.pid, flush=True)\n"
        "    return process\n"
        "ours._start = start\n"
        "with ours.server(every_service=False) as url:\n"
        "    print(url, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=150)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid, url = ended.stdout.split()
    assert url.startswith("http://127.0.0.1:")
    until(lambda: gone(int(pid)), 30)


def test_ctrl_c_in_a_night_with_a_private_server(
    private: None, build: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(6000)
    installation = build()
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as said, err.open("w") as logged:
        night = subprocess.Popen(
            command("night", "--config", tmp_path / "fwd2bot.toml"),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=said,
            stderr=logged,
            start_new_session=True,
        )
        try:
            until(lambda: "starting compression" in out.read_text() or night.poll() is not None)
            os.killpg(night.pid, signal.SIGINT)
            assert night.wait(30) == 1  # and not the minute of retries against a server that is gone
        finally:
            night.kill()
            night.wait()
    assert err.read_text() == "fwd2bot: interrupted; what was committed stays, run again to go on\n"
    (run,) = rows(installation, runs)
    assert run.state == "failed"


def test_a_configured_server_that_does_not_answer_is_said_at_once(
    private: None, monkeypatch: pytest.MonkeyPatch, build: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(1)
    build()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    for verb in ("night", "serve"):
        ended = fwd2bot(verb, "--config", tmp_path / "fwd2bot.toml")
        assert ended.returncode == 1
        assert len(ended.stderr.strip().splitlines()) == 1
        assert "does not answer at http://127.0.0.1:9/api (Connection refused)" in ended.stderr
        assert "--direct" in ended.stderr

"""`fwd2bot deploy` against a real Prefect server that asks for a password; a real worker runs what was deployed.

As in ``test_prefect_night`` the commands are processes of their own and the server is asked over HTTP.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from infra import leases
from infra.installation import Installation
from infra.tables import summaries
from tasks.runs import begin
from tests.houses import COLLECTION, fwd2bot, write_settings
from tests.servers import prefect
from tests.servers.prefect import until

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

AUTH = "night:watch"
BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a server with a password, as an operator would have started it."""
    with prefect.private(tmp_path_factory.mktemp("prefect"), every_service=True, auth=AUTH) as url:
        yield url


ask = partial(prefect.ask, auth=AUTH)


def deployments(server: str) -> dict[str, Any]:
    return {found["name"]: found for found in ask(f"{server}/deployments/filter", {})}


def deployed(*arguments: str | Path, config: Path) -> dict[str, str]:
    """What ``deploy`` says of each thing, by name."""
    ended = fwd2bot("deploy", "--json", "--config", config, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return {change["name"]: change["change"] for change in json.loads(ended.stdout)["changes"]}


def refused(*arguments: str | Path, code: int, env: dict[str, str] | None = None) -> str:
    ended = fwd2bot("deploy", *arguments, env=env)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stdout == ""
    return ended.stderr


# --- what stands on the server


def test_deploying_is_dry_then_done_then_nothing_to_do(server: str, tmp_path: Path) -> None:
    config = tmp_path / "plant" / "fwd2bot.toml"
    both: dict[str, Any] = {
        "collections__line-a": {"originals": "a"},
        "collections__line-b": {"originals": "b"},
    }
    both["night"] = {"cron": "30 2 * * *", "zone": "Asia/Tokyo"}
    write_settings(config, **both)
    names = {"nightly-line-a", "nightly-line-b"}

    dry = deployed("line-a", "line-b", "--pool", "plant", "--dry-run", config=config)
    assert {dry[name] for name in names | {"plant"}} == {"created"}
    assert "fwd2bot: a night did not start" in dry
    assert deployments(server).keys().isdisjoint(names)
    assert "plant" not in {pool["name"] for pool in ask(f"{server}/work_pools/filter", {})}

    first = deployed("line-a", "line-b", "--pool", "plant", config=config)
    assert first == dry
    made = deployments(server)["nightly-line-a"]
    assert [(one["schedule"]["cron"], one["schedule"]["timezone"]) for one in made["schedules"]] == [
        ("30 2 * * *", "Asia/Tokyo")
    ]
    assert made["work_pool_name"] == "plant"
    assert made["global_concurrency_limit"]["limit"] == 1
    assert made["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert made["parameters"] == {"collection": "line-a", "config": str(config)}
    assert made["tags"] == ["fwd2bot", "line-a"]
    assert (made["entrypoint"], made["pull_steps"]) == ("flows.prefect_night.night", [])
    assert made["job_variables"]["env"]["DO_NOT_TRACK"] == "1"

    ask(f"{server}/deployments/{made['id']}", {"paused": True}, "PATCH")
    again = fwd2bot("deploy", "line-a", "line-b", "--pool", "plant", "--config", config)
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing to change" in again.stdout
    assert "prefect worker start --type process --pool plant" in again.stdout

    # another hour, and line-b is gone from the settings
    del both["collections__line-b"]
    both["night"] = {"cron": "0 4 * * *", "zone": "Asia/Tokyo"}
    write_settings(config, **both)
    told = deployed("line-a", "--pool", "plant", config=config)
    assert (told["nightly-line-a"], told["nightly-line-b"]) == ("updated", "stale")
    moved = deployments(server)["nightly-line-a"]
    assert [one["schedule"]["cron"] for one in moved["schedules"]] == ["0 4 * * *"]
    assert moved["paused"]  # by the operator, above
    told = deployed("line-a", "--pool", "plant", "--prune", config=config)
    assert (told["nightly-line-a"], told["nightly-line-b"]) == ("unchanged", "removed")
    assert deployments(server).keys() & names == {"nightly-line-a"}

    # the same collection of another installation is not ours to move
    other = write_settings(tmp_path / "other" / "fwd2bot.toml", **both)
    said = refused("line-a", "--config", other, code=2)
    assert f"belongs to the installation of {config}" in said


# --- a worker


@contextmanager
def working(pool: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as the operator starts it."""
    program = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--pool", pool]
    with log.open("wb") as said:
        worker = subprocess.Popen(
            program,
            env={**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_LOGGING_LEVEL": "INFO"},
            cwd=log.parent,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGINT)
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """(URL, what was posted there)."""
    posted: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *given: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Receiver) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/alert", posted
        finally:
            listener.shutdown()
            thread.join()


def test_a_worker_runs_the_deployed_night_and_somebody_is_told_that_it_failed(
    server: str, house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(25)[3].write_bytes(b"broken")
    installation = house(night={"engine": "prefect"}, prefect={"notify": "webhook/plant-alerts"})
    config = tmp_path / "fwd2bot.toml"
    assert "prefect block ls" in refused("--config", config, code=2)  # no such block yet
    with listening() as (url, posted):
        block = f"from prefect.blocks.webhook import Webhook; Webhook(url='{url}').save('plant-alerts')"
        subprocess.run([sys.executable, "-c", block], check=True, timeout=60)
        deployed(config=config)
        made = deployments(server)[f"nightly-{COLLECTION}"]
        run = ask(f"{server}/deployments/{made['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        log = tmp_path / "worker.log"
        with working("fwd2bot", log):
            ended = until(
                lambda: (
                    (now := ask(f"{server}/flow_runs/{run['id']}"))["state_type"]
                    in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
                    and now
                )
            )
            assert (ended["state_name"], ended["name"]) == ("Partly Failed", f"night {COLLECTION}"), (
                log.read_text()
            )
            until(lambda: posted, 30)
    assert "24 compressed, 1 failed (not_an_image 1)" in ended["state"]["message"]
    assert "fwd2bot: a night failed" in posted[0]
    assert "24 compressed, 1 failed" in posted[0]
    with installation.ledger.read() as connection:
        kept = connection.execute(sa.select(summaries.c.object_version_id)).scalars().all()
    assert len(kept) == len(set(kept)) == 24


# --- runs of dead workers


def test_a_dead_run_is_closed_unless_somebody_works_on_its_collection(
    server: str, house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(1)
    # a collection of its own, since a deployment belongs to one installation
    installation = house(**{"collections__line-9": {"originals": "photos"}}, prefect={"stale_minutes": 0})
    config = tmp_path / "fwd2bot.toml"
    deployed("line-9", config=config)
    made = deployments(server)["nightly-line-9"]
    run = ask(
        f"{server}/flow_runs/",
        {
            "name": "dead",
            "flow_id": made["flow_id"],
            "deployment_id": made["id"],
            "state": {"type": "RUNNING"},
        },
    )
    lease = begin(installation, "line-9")
    assert deployed("line-9", "--close-stale", config=config)["dead"] == "kept"
    with installation.ledger.write() as connection:
        leases.release(connection, lease.lease)
    assert deployed("line-9", "--close-stale", "--dry-run", config=config)["dead"] == "closed"
    assert ask(f"{server}/flow_runs/{run['id']}")["state_type"] == "RUNNING"
    assert deployed("line-9", "--close-stale", config=config)["dead"] == "closed"
    closed = ask(f"{server}/flow_runs/{run['id']}")
    assert closed["state_type"] == "CRASHED"
    assert "no process works on its collection" in closed["state"]["message"]


# --- bad input


def test_a_refusal_is_one_sentence_with_the_cure(server: str, tmp_path: Path) -> None:
    own: dict[str, Any] = {"collections__line-r": {"originals": "r"}}  # no other test deploys it
    config = write_settings(tmp_path / "fwd2bot.toml", **own)
    told = ("line-r", "--config", config)
    assert "PREFECT_API_AUTH_STRING" in refused(*told, code=1, env={"PREFECT_API_AUTH_STRING": "night:wrong"})
    assert "fwd2bot serve" in refused(*told, code=2, env={"PREFECT_API_URL": ""})
    gone = refused(*told, code=1, env={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert "does not answer at http://127.0.0.1:9/api (Connection refused)" in gone
    ask(f"{server}/work_pools/", {"name": "boxes", "type": "docker"})
    assert "of type docker" in refused(*told, "--pool", "boxes", code=2)
    assert "no collection 'line-7'" in refused("line-7", *told, code=2)
    wrong = write_settings(tmp_path / "wrong.toml", night={"cron": "0 25 * * *"})
    assert "night.cron" in refused("--config", wrong, code=2)

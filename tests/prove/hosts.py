"""A night over several hosts, one of which is cut off for a minute in its middle.

    python -m tests.prove.hosts [--images 3000] [--seconds 60]

Driver, store, Dask scheduler and two workers are network namespaces with addresses of their own; the cluster is the one
that ``fwd2bot cluster certs`` describes. When a fifth of the photos is committed, one worker's cable is pulled, and put
back later. The night must end with exit code 0 and every photo committed once: checked on ledger and store without the
product's code. Writes ``docs/evidence/hosts.json``. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from infra.cluster_settings import DASK_SETTINGS
from tests.bench import evidence, photos
from tests.prove import checks
from tests.prove.hosts_store import PHOTOS, TOKENS
from tests.prove.namespaces import Host, hosts, missing

NAMES = ("driver", "store", "scheduler", "worker-1", "worker-2")
CUT = "worker-2"
SHARE = 0.2  # of the photos, committed when the cable is pulled
BATCH = 50
PATIENCE = 900.0  # seconds
app = cyclopts.App(name="hosts", help=__doc__)

_SETTINGS = """\
[archive]
store = "s3://{tokens}/plant"
ledger = "ledger.sqlite"
[archive.s3]
{reached}
[collections.line]
originals = "s3://{photos}"
[collections.line.s3]
{reached}
versioned = true
[compressor]
bundle = "{bundle}"
[execution]
executor = "tls://{scheduler}:8786"
certificates = "certs"
workers = 2
[night]
engine = "direct"
batch_size = {batch}
smallest_batch = {batch}
"""
_REACHED = """\
endpoint = "{endpoint}"
region = "{region}"
addressing = "path"
access_key_id_env = "STORE_KEY"
secret_access_key_env = "STORE_SECRET"
"""


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="Photos of the night.")] = 3000,
    seconds: Annotated[float, cyclopts.Parameter(help="How long the worker is cut off.")] = 60,
    bundle: Annotated[str, cyclopts.Parameter(help="'nano', 'fake' or a folder.")] = "nano",
    work: Annotated[Path, cyclopts.Parameter(help="Where everything is made.")] = Path("prove-work/hosts"),
    out: Annotated[Path, cyclopts.Parameter(help="Folder of hosts.json.")] = evidence.FOLDER,
) -> int:
    """Exit code 0: all holds; 1: something does not; 2: this machine cannot have hosts in it."""
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    before = evidence.begin()
    root, keys = photos.lay_out(images)
    work = work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with hosts(NAMES) as there:
        seen = _night(there, work, root, bundle, images, seconds)
    verdict = checks.check(work / "ledger.sqlite", work / "archive" / "plant", set(keys), failing={})
    problems = [*seen.problems, *verdict.problems]
    figures = {
        "images": images, "batch": BATCH, "bundle": bundle, "hosts": list(NAMES), "cut_off": CUT,
        "cut_seconds": seconds, **seen.figures, "orphans": verdict.orphans, "problems": problems,
    }  # fmt: skip
    print(json.dumps(evidence.write(out / "hosts.json", before, figures), indent=2))
    return 1 if problems else 0


@dataclass
class Seen:
    """What the night did; ``problems`` is empty if it did what it must."""

    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def _night(there: dict[str, Host], work: Path, root: Path, bundle: str, images: int, seconds: float) -> Seen:
    with ExitStack() as running:
        said = running.enter_context(_store(there["store"], root, work))
        environment = {"STORE_KEY": said["key"], "STORE_SECRET": said["secret"]}
        _cluster(there, work, environment, running)
        settings = _settings(there, work, said, bundle)
        seen = _with_a_cut(there, work, settings, environment, images, seconds)
        scrub = _said(there["driver"], ["verify", "--json", "--config", str(settings)], environment)
        if scrub.returncode:
            seen.problems.append(f"verify ended with {scrub.returncode}: {scrub.stderr[-500:]}")
        fetched = [
            sys.executable,
            "-m",
            "tests.prove.hosts_store",
            "fetch",
            work / "store.json",
            work / "archive",
        ]
        subprocess.run(there["driver"].on(*fetched), check=True, timeout=PATIENCE)
        for name in ("worker-1", CUT):
            seen.figures[f"starts_of_{name}"] = (work / f"{name}.log").read_text().count("Start worker at")
        return seen


def _with_a_cut(
    there: dict[str, Host],
    work: Path,
    settings: Path,
    environment: dict[str, str],
    images: int,
    seconds: float,
) -> Seen:
    """The night as a process of its own, while a cable is pulled and put back."""
    seen, begun = Seen(), time.monotonic()
    with (work / "night.json").open("w+") as said, (work / "night.errors").open("w+") as errors:
        night = subprocess.Popen(
            there["driver"].on(*_fwd2bot(), "night", "--json", "--config", settings),
            stdout=said, stderr=errors, env=_environment(environment), start_new_session=True,
        )  # fmt: skip
        try:
            reached = _wait(night, work / "ledger.sqlite", round(SHARE * images))
            seen.figures["committed_when_cut"] = reached
            there[CUT].plug(False)
            seen.figures["cut_after_seconds"] = round(time.monotonic() - begun, 1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                night.wait(seconds)
            seen.figures["committed_when_back"] = _committed(work / "ledger.sqlite")
            there[CUT].plug(True)
            code = night.wait(PATIENCE)
        finally:
            _end(night)
        said.seek(0)
        errors.seek(0)
        summary = json.loads(said.read() or "{}")
        seen.problems += [] if code == 0 else [f"the night ended with {code}: {errors.read()[-1500:]}"]
    seen.figures |= {
        "exit_code": code,
        "night_seconds": round(time.monotonic() - begun, 1),
        **{name: summary.get(name) for name in ("compressed", "failed", "left", "shards")},
    }
    if seen.figures["committed_when_back"] >= images:
        seen.problems.append("the night was over before the cable was back: give it more images")
    return seen


@contextmanager
def _store(host: Host, root: Path, work: Path) -> Iterator[dict[str, Any]]:
    said = work / "store.json"
    words = [sys.executable, "-m", "tests.prove.hosts_store", "serve", host.address, root, said]
    with (work / "store.log").open("wb") as log:
        process = subprocess.Popen(
            host.on(*words), stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + PATIENCE
            while not said.exists():
                assert process.poll() is None, (work / "store.log").read_text()[-2000:]
                assert time.monotonic() < deadline, "the store does not come up"
                time.sleep(0.2)
            yield json.loads(said.read_text())
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            _end(process)


def _cluster(there: dict[str, Host], work: Path, environment: dict[str, str], running: ExitStack) -> None:
    """By the commands that ``cluster certs`` prints; workers are started again when they end, as systemd does."""
    made = _said(
        there["driver"],
        ["cluster", "certs", str(work / "certs"), "--host", there["scheduler"].address, "--json"],
        {},
    )
    start = json.loads(made.stdout)["start"]
    for name in ("scheduler", "worker-1", "worker-2"):
        _, dask, *words = shlex.split(start[name.partition("-")[0]])
        assert dask == "dask"
        line = shlex.join([sys.executable, "-m", "dask", *words])
        looped = f"while :; do {line}; sleep 2; done" if name.startswith("worker") else f"exec {line}"
        log = running.enter_context((work / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            there[name].on("bash", "-c", looped),
            env=_environment(environment | {"DASK_CONFIG": str(work / "certs" / DASK_SETTINGS)}),
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        running.callback(_end, process)


def _settings(there: dict[str, Host], work: Path, said: dict[str, Any], bundle: str) -> Path:
    file = work / "fwd2bot.toml"
    file.write_text(
        _SETTINGS.format(
            tokens=TOKENS, photos=PHOTOS, bundle=bundle, scheduler=there["scheduler"].address, batch=BATCH,
            reached=_REACHED.format(**said),
        )
    )  # fmt: skip
    return file


def _wait(night: subprocess.Popen[bytes], ledger: Path, images: int) -> int:
    """Until so many are committed; how many are."""
    deadline = time.monotonic() + PATIENCE
    while (reached := _committed(ledger)) < images and night.poll() is None:
        assert time.monotonic() < deadline, "the night does not come on"
        time.sleep(0.2)
    return reached


def _committed(ledger: Path) -> int:
    """Images committed so far; 0 before there is a ledger."""
    if not ledger.exists():
        return 0
    connection = sqlite3.connect(ledger, timeout=60)
    try:
        return int(connection.execute("SELECT count(*) FROM summaries").fetchone()[0])
    except sqlite3.OperationalError:  # no tables yet
        return 0
    finally:
        connection.close()


def _said(host: Host, words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One command on a host, to its end."""
    return subprocess.run(
        host.on(*_fwd2bot(), *words), env=_environment(environment), capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip


def _fwd2bot() -> list[str]:
    return [sys.executable, "-m", "flows.cli"]


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FWD2BOT_")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", **more}


def _end(process: subprocess.Popen[Any]) -> None:
    """It and all that it started: each is the leader of a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    raise SystemExit(app())

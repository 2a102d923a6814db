"""What carrying out a disposition list costs beside its requests alone: ``python -m tests.bench.execution``.

execution  ``execute`` with the token of a dry run: every guard, reading originals and tokens back, intents, checkpoint,
           anchor, deletion, confirmation, certificates
bare       a loop that makes the same requests to the same server, in the same order, of as many other originals:
           versions of the key, the bytes, delete this version, versions of the key, the bytes (which are gone by then)

In turns, on a real S3 server with versions, the ledger on SQLite (synced to disk at each commit). Measuring fidelity is
counted apart: it is the compressor's work, and with a real model takes longer than all else.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cyclopts
import pytest

from fwd2bot_core.errors import ObjectMissing
from infra.objects import ObjectStore
from tasks import destroy_store
from tasks.destroy import execute
from tests.bench import evidence, tables, turns
from tests.bench.arguments import OUT, Out, Rounds
from tests.houses import COLLECTION, tiny_jpeg
from tests.servers.seaweedfs import S3Server, seaweedfs
from tests.tasks.disposals import World, make_world

app = cyclopts.App(name="execution", help=__doc__)
ASKED = ("versions_of", "read", "delete_version")  # of the store of originals
COLUMNS = {
    "originals": "originals",
    "requests": "requests",
    "execution, originals/s": "execution_a_second",
    "bare loop, originals/s": "bare_a_second",
    "execution / bare": "ratio",
    "fidelity, ms an original": "fidelity_ms",
}


@app.default
def main(
    *,
    originals: Annotated[int, cyclopts.Parameter(help="On each list.")] = 500,
    rounds: Rounds = 3,
    goal: Annotated[float, cyclopts.Parameter(help="Of a bare loop's speed.")] = 0.8,
    note: Annotated[str, cyclopts.Parameter(help="Written beside the figures.")] = "",
    out: Out = OUT,
) -> int:
    """Print one table, write execution.json; exit code 1 if the median of the rounds is below the goal."""
    before = evidence.begin()
    with tempfile.TemporaryDirectory(prefix="fwd2bot-execution-") as folder, seaweedfs() as server:
        row = measure(Path(folder), server, originals, rounds)
    tables.show("carrying out a disposition list", [row], COLUMNS)
    evidence.write(out / "execution.json", before, {"note": note, "goal": goal, "rows": [row]})
    return int(row["ratio"] < goal)


def measure(folder: Path, server: S3Server, originals: int, rounds: int) -> dict[str, Any]:
    """One list for each round, and before all of them one that does not count; one row of the table."""
    taken: turns.Seconds = {"execution": [], "bare": []}
    fidelity, requests = list[float](), Counter[str]()
    with _world(folder, server, originals * (rounds + 1)) as world:
        for turn in range(rounds + 1):
            numbers = world.numbers[turn * originals : (turn + 1) * originals]
            ways = {
                "execution": partial(_executed, world, numbers, requests),
                "bare": partial(_bare, world, originals),
            }
            order = list(ways) if turn % 2 == 0 else list(reversed(ways))
            found = {name: ways[name]() for name in order}
            if turn:
                for name, (seconds, _) in found.items():
                    taken[name].append(seconds)
                fidelity.append(found["execution"][1])
    return {
        "originals": originals,
        "requests": sum(requests.values()) // (rounds + 1),
        **{f"{name}_a_second": round(originals / median(taken[name]), 1) for name in taken},
        "ratio": turns.times_faster(taken, "bare", "execution"),
        "fidelity_ms": round(1e3 * median(fidelity) / originals, 3),
        "seconds": {name: [round(value, 3) for value in taken[name]] for name in taken},
    }


def _executed(world: World, numbers: list[int], requests: Counter[str]) -> tuple[float, float]:
    """Seconds of a run without those of fidelity, and those of fidelity."""
    name = world.list(numbers)
    token = execute(world.house, name).token
    with _counted(world.store, requests), _timed(destroy_store, "judged") as judging:
        begun = time.perf_counter()
        done = execute(world.house, name, token=token, dry_run=False)
        seconds = time.perf_counter() - begun
    if done.destroyed != len(numbers):
        raise SystemExit(f"{done.destroyed} of {len(numbers)} were destroyed: {world.reasons(name)}")
    return seconds - sum(judging), sum(judging)


def _bare(world: World, count: int) -> tuple[float, float]:
    """The same requests, of originals that are put there first."""
    store = world.store
    made = [
        store.create(f"bare-{time.monotonic_ns()}-{number}.jpg", tiny_jpeg(number)) for number in range(count)
    ]
    begun = time.perf_counter()
    for info in made:
        store.versions_of(info.key)
        store.read(info.key, identity=info.identity)
        store.delete_version(info)
        store.versions_of(info.key)
        with suppress(ObjectMissing):
            store.read(info.key, identity=info.identity)
    return time.perf_counter() - begun, 0.0


@contextmanager
def _world(folder: Path, server: S3Server, photos: int) -> Iterator[World]:
    """Originals that may all go, in a bucket with versions."""
    reached = {
        "endpoint": server.endpoint, "region": server.region, "addressing": "path", "versioned": True,
        "access_key_id": server.access_key, "secret_access_key": server.secret_key, "attempts": 2,
    }  # fmt: skip
    bucket = server.make_bucket("execution", versioned=True)
    limits = {"objects": "1000000", "percent": "100 %", "bytes": "1 TB"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FWD2BOT_COLLECTIONS", json.dumps({COLLECTION: {"s3": reached}}))
        home, originals = folder / "site", {"originals": f"s3://{bucket}/line"}
        url = f"sqlite:///{home}/ledger.sqlite"
        world = make_world(home, url, patch, photos=photos, originals=originals, limits=limits)
        yield world
        world.house.ledger.close()


@contextmanager
def _counted(store: ObjectStore, requests: Counter[str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ASKED:
            patch.setattr(type(store), name, _counting(getattr(type(store), name), name, requests))
        yield


def _counting(real: Callable[..., Any], name: str, requests: Counter[str]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        requests[name] += 1
        return real(*args, **kwargs)

    return call


@contextmanager
def _timed(module: Any, name: str) -> Iterator[list[float]]:
    seconds, real = list[float](), getattr(module, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return real(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - begun)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, call)
        yield seconds


if __name__ == "__main__":
    raise SystemExit(app())

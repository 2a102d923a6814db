"""A night's look for 1,000 new photos among many known ones, over the bare listing of the same store, in turns.

``python -m tests.bench.discovery`` lists through our S3 client from a server of its own process, whose pages are made
as they are asked for; so both sides do the same requests and read the same XML, and what discovery adds is the
ledger's part. Beside it the look at recent days. Each size in a process of its own, whose peak memory must not grow
with it.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import cyclopts
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from infra.installation import opened
from infra.objects.s3 import S3Store
from infra.objects.s3_options import S3Options
from infra.sources.recent import RecentDays
from tasks import runs
from tasks.discover import Discovery, discover
from tests.bench import evidence
from tests.bench.listing import bench_settings

app = cyclopts.App(name="discovery", help=__doc__)
NEW = 1_000
PAGE = 1_000
PATTERN = "%Y/%m/%d/*"
_FIRST, _DAYS = date(2025, 11, 24), 365
LAST = _FIRST + timedelta(days=_DAYS)


class _Keys:
    """Keys of a year, in their order; those beyond ``known`` are of its last day."""

    def __init__(self, known: int, all: int) -> None:
        self._known, self._all = known, all

    def __len__(self) -> int:
        return self._all

    def __getitem__(self, number: int) -> str:
        day = _FIRST + timedelta(days=min(number * _DAYS // self._known, _DAYS))
        return f"{day:%Y/%m/%d}/tray-{number:08d}.jpg"


class _Lists(BaseHTTPRequestHandler):
    """ListObjectsV2 of a bucket whose name says how many keys it has: ``keys-KNOWN-ALL``."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        known, every = (int(number) for number in parts.path.strip("/").split("-")[1:])
        keys, prefix = _Keys(known, every), asked.get("prefix", "")
        first = int(asked.get("continuation-token", bisect_left(keys, prefix)))
        last = min(first + PAGE, bisect_left(keys, prefix + "\U0010ffff") if prefix else every)
        body = _page(keys, first, last, more=last == first + PAGE).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _page(keys: _Keys, first: int, last: int, *, more: bool) -> str:
    entries = "".join(
        f"<Contents><Key>{keys[n]}</Key><LastModified>2026-11-23T00:00:00.000Z</LastModified>"
        f'<ETag>"{n:032x}"</ETag><Size>{20_000 + n % 5_000}</Size></Contents>'
        for n in range(first, last)
    )
    token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
    head = f"<IsTruncated>{str(more).lower()}</IsTruncated><KeyCount>{last - first}</KeyCount>{token}"
    return f'<?xml version="1.0"?><ListBucketResult>{head}{entries}</ListBucketResult>'


def _serve(port: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Lists)
    port.put(server.server_address[1])
    server.serve_forever()


@contextmanager
def _server() -> Iterator[str]:
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Queue()
    process = spawn.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get(timeout=60)}"
    finally:
        process.kill()
        process.join()


@app.default
def main(
    *,
    keys: Annotated[
        int, cyclopts.Parameter(help="Known keys; a quarter of them is measured as well.")
    ] = 100_000,
    rounds: int = 3,
    goal: Annotated[float, cyclopts.Parameter(help="Discovery over listing, at most.")] = 1.2,
    out: Annotated[Path, cyclopts.Parameter(help="Folder of discovery.json.")] = evidence.FOLDER,
) -> int:
    """Measure, print one table, write JSON; exit code 1 if the median misses the goal."""
    before = evidence.begin()
    with _server() as endpoint:
        found = [_alone(endpoint, size, rounds) for size in (keys // 4, keys)]
    evidence.write(out / "discovery.json", before, {"goal": goal, "new": NEW, "sizes": found})
    table = Table(title=f"discovery of {NEW:,} new keys over the bare listing")
    for name in found[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in found:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    return int(found[-1]["ratio"] > goal)


def _alone(endpoint: str, size: int, rounds: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_measure, (endpoint, size, rounds))


def _measure(endpoint: str, size: int, rounds: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="fwd2bot-discovery-") as folder,
        opened(bench_settings(Path(folder))) as house,
    ):
        run = runs.begin(house, "bench")

        def look(source: Any, *, whole: bool) -> Discovery:
            return discover(house.ledger, source, run.collection_id, run=run, whole=whole)

        look(_store(endpoint, size, size), whole=True)
        bare, ours, days = list[float](), list[float](), list[float]()
        for number in range(1, rounds + 1):
            store = _store(endpoint, size, size + (2 * number - 1) * NEW)
            more = _store(endpoint, size, size + 2 * number * NEW)
            listed = _timed(bare, lambda store=store: sum(1 for _ in store.list()))  # type: ignore[misc]
            found = _timed(ours, lambda store=store: look(store, whole=True))  # type: ignore[misc]
            recent = RecentDays(more, PATTERN, LAST - timedelta(days=3), LAST)
            late = _timed(days, lambda recent=recent: look(recent, whole=False))  # type: ignore[misc]
            if (found.listed, found.new, late.new) != (listed, NEW, NEW):
                raise RuntimeError(f"discovery counted wrongly: {listed}, {found}, {late}")
    return {
        "keys": size,
        "listing_seconds": round(statistics.median(bare), 2),
        "discovery_seconds": round(statistics.median(ours), 2),
        "ratio": round(statistics.median(b / a for a, b in zip(bare, ours, strict=True)), 3),
        "recent_days_seconds": round(statistics.median(days), 2),
        "recent_days_ratio": round(statistics.median(b / a for a, b in zip(bare, days, strict=True)), 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _timed(seconds: list[float], step: Callable[[], Any]) -> Any:
    begun = time.perf_counter()
    result = step()
    seconds.append(time.perf_counter() - begun)
    return result


def _store(endpoint: str, known: int, every: int) -> S3Store:
    """With its client made, which takes longer than a page."""
    store = S3Store(
        f"s3://keys-{known}-{every}",
        S3Options(
            endpoint=endpoint,
            addressing="path",
            access_key_id=SecretStr("nobody"),
            secret_access_key=SecretStr("nothing"),
        ),
    )
    next(store.list(f"{LAST:%Y/%m/%d}"), None)
    return store


if __name__ == "__main__":
    raise SystemExit(app())

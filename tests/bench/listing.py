"""A night without news over a large archive: seconds and memory of listing and anti-join.

``python -m tests.bench.listing`` fills a ledger with as many object versions as a memory store holds, then
discovers again with everything known. Memory must not grow with the archive: Python's peak is taken over one
discovery with everything known, the process's over its whole life, each size in a process of its own.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from rich.console import Console
from rich.table import Table

from infra.audit_settings import AuditSettings
from infra.installation import opened
from infra.objects import ObjectInfo
from infra.objects.memory import MemoryStore
from infra.settings import (
    ArchiveSettings,
    CollectionSettings,
    CompressorSettings,
    ExecutionSettings,
    Settings,
)
from tasks import runs
from tasks.discover import Discovery, discover
from tests.bench import machine

app = cyclopts.App(name="listing", help=__doc__)
_TAKEN = datetime(2026, 11, 23, tzinfo=UTC)


class LargeStore(MemoryStore):
    """A memory store whose entries are made while they are listed, so that they take no memory of their own."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self._entries = entries

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for n in range(self._entries):
            key = f"line-{n % 3}/{n // 1000:05d}/tray-{n:08d}.jpg"
            yield ObjectInfo(key, 20_000 + n % 5_000, f"etag-{n:032x}", None, _TAKEN)


@app.default
def main(
    *,
    sizes: Annotated[list[int], cyclopts.Parameter(help="Archive sizes.", consume_multiple=True)] = [  # noqa: B006
        50_000,
        200_000,
    ],
    out: Annotated[Path, cyclopts.Parameter(help="Folder of listing.json.")] = Path("docs/evidence"),
) -> int:
    """Measure each size, print one table, write JSON."""
    found = [_alone(size) for size in sizes]
    out.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine.describe(), "sizes": found}
    (out / "listing.json").write_text(json.dumps(result, indent=2) + "\n")
    table = Table(title="discovery with everything known")
    for name in found[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in found:
        table.add_row(*(f"{value:,}" for value in row.values()))
    Console().print(table)
    return 0


def _alone(size: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_measure, (size,))


def _measure(size: int) -> dict[str, Any]:
    store = LargeStore(size)
    with (
        tempfile.TemporaryDirectory(prefix="fwd2bot-listing-") as folder,
        opened(bench_settings(Path(folder))) as house,
    ):
        run = runs.begin(house, "bench")

        def once() -> Discovery:
            return discover(house.ledger, store, run.collection_id, run=run)

        begun = time.monotonic()
        first = once()
        known = time.monotonic()
        again = once()
        timed = time.monotonic()
        tracemalloc.start()
        once()
        _, peak = tracemalloc.get_traced_memory()
    if (first.new, again.listed, again.new) != (size, size, 0):
        raise SystemExit(f"discovery counted wrongly: {first}, {again}")
    return {
        "entries": size,
        "first_seconds": round(known - begun, 2),
        "known_seconds": round(timed - known, 2),
        "entries_a_second": round(size / (timed - known)),
        "python_peak_mb": round(peak / 1e6, 1),
        "process_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def bench_settings(folder: Path) -> Settings:
    """An archive in ``folder`` whose one collection is given its store by the bench."""
    return Settings(
        archive=ArchiveSettings(store=str(folder / "archive"), ledger=str(folder / "ledger.sqlite")),
        audit=AuditSettings(key=str(folder / "audit-key")),
        collections={"bench": CollectionSettings(originals="memory://bench")},
        compressor=CompressorSettings(bundle="fake"),
        execution=ExecutionSettings(executor="inline"),
    )


if __name__ == "__main__":
    raise SystemExit(app())

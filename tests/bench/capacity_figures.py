"""The figures of ``fwd2bot plan --images``, from what benches measured: ``python -m tests.bench.capacity_figures``.

Reads ``docs/evidence/*.json`` and writes ``fwd2bot_core/capacity/figures.json``, which is installed with the package.
What no bench measures is assumed, and says why. A test holds the file against the evidence.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from fwd2bot_core.audit.segment import write_segment
from fwd2bot_core.capacity.figures import ASSUMED, MEASURED, Figure
from fwd2bot_core.compressor.nano.trays import SIDE
from fwd2bot_core.work import Batch, ImageFact, Unit
from tests.bench.evidence import FOLDER

_AT = datetime(2026, 11, 23, tzinfo=UTC)
FIGURES = Path("fwd2bot_core/capacity/figures.json")
WALK = "SELECT count(*) AS count_1, min("  # the plan's own look at what is due
GPU = ("images_a_second.llava-1.5-7b", "gpu.json", "llava-1.5-7b")


def figures(folder: Path) -> list[Figure]:
    """All of them; ``folder`` holds the evidence. Raises ``KeyError`` or ``OSError`` for evidence that is missing."""
    return [
        *_of_nights(folder),
        *_of_ledgers(folder),
        *_of_schedulers(folder),
        *_of_gpus(folder),
        *_assumed(),
    ]


def written(found: list[Figure]) -> str:
    """As JSON; numbers to four digits, which is more than they are good for."""
    document = {
        one.name: {
            "value": float(f"{one.value:.4g}"),
            "unit": one.unit,
            "kind": one.kind,
            "source": one.source,
        }
        for one in found
    }
    return json.dumps(document, indent=2) + "\n"


def _of_nights(folder: Path) -> Iterator[Figure]:
    listing = _read(folder, "listing.json")
    largest = listing["sizes"][-1]
    yield _measured("listed_known_a_second", largest["entries_a_second"], "images/s", "listing.json", listing)
    first = largest["entries"] / largest["first_seconds"]
    yield _measured("listed_new_a_second", first, "images/s", "listing.json", listing)
    speed = _read(folder, "night_speed.json")
    images = speed["parameters"]["images"]
    stages = [one["bound_stages"] for one in speed["rounds"]]
    decode = statistics.median(one["decode"] for one in stages) / images / (SIDE * SIDE / 1e6)
    yield _measured("decode_seconds_a_megapixel", decode, "s", "night_speed.json, JPEG, one core", speed)
    encode = statistics.median(one["encode"] for one in stages) / images
    yield _measured("encode_seconds_an_image", encode, "s", "night_speed.json, one core", speed)
    rate = statistics.median(one["bound_forward"] for one in speed["rounds"] if one["workers"] == 1)
    yield _measured(
        "images_a_second.nano", rate, "images/s", "night_speed.json, one CPU core instead of a GPU", speed
    )
    yield Figure("segment_bytes", _segment_bytes(), "bytes an image", MEASURED, "a segment of 1,000 lines")


def _of_ledgers(folder: Path) -> Iterator[Figure]:
    commit = _read(folder, "commit.json")
    slowest = min(row["planned_a_second"] for row in commit["rows"])
    yield _measured("planned_a_second", slowest, "images/s", "commit.json, the slower database", commit)
    for row in commit["rows"]:
        name, source = row["database"], "commit.json, by processor time"
        rate = row["committed_a_processor_second"]
        yield _measured(f"committed_a_second.{name}", rate, "images/s", source, commit)
        source = "commit.json, before any vacuum"
        yield _measured(f"ledger_bytes.{name}", row["bytes_an_image"], "bytes an image", source, commit)
    large = _read(folder, "ledger_plans.json")
    for row in large["rows"]:
        (walk,) = (one["seconds"] for one in row["slowest"] if one["statement"].startswith(WALK))
        source = f"ledger_plans.json, {row['images']:,} images, wall clock"
        yield _measured(
            f"walked_a_second.{row['database']}", row["images"] / walk, "known images/s", source, large
        )


def _of_schedulers(folder: Path) -> Iterator[Figure]:
    scheduler = _read(folder, "scheduler.json")
    rate = scheduler["batches_a_processor_second"]  # of driver, scheduler and sleeping workers together
    yield _measured(
        "scheduled_batches_a_second", rate, "batches/s", "scheduler.json, by processor time", scheduler
    )


def _of_gpus(folder: Path) -> Iterator[Figure]:
    """A measured rate goes before one that is reckoned from operations."""
    name, file, shape = GPU
    if (folder / file).is_file():
        gpu = _read(folder, file)
        rates = [
            1e3 * row["batch"] / row["ms"] for row in gpu["pass1"] if row["way"] == "ours" and "ms" in row
        ]
        if gpu["shape"] == shape and rates:
            yield _measured(name, max(rates), "images/s", f"{file}, {gpu['device']['name']}", gpu)


def _assumed() -> Iterator[Figure]:
    for name, value, unit, why in (
        ("image_bytes", 1e6, "bytes", "a photo of an inspection camera; look at your own"),
        ("image_megapixels", 2.0, "megapixels", "as 1600 x 1200; look at your own"),
        (
            "shard_overhead_bytes",
            160,
            "bytes an image",
            "names, hashes and pages of a shard, as `plan` takes them",
        ),
        (
            "gpu_operations_a_second",
            9.89e14,
            "operations/s",
            "an H100's data sheet, bfloat16 without sparsity",
        ),
        ("gpu_share", 0.4, "of that", "what dense forward passes of this size often reach"),
        ("store_bytes_a_second_a_worker", 2e8, "bytes/s", "one 10 Gbit/s line shared by six workers"),
        ("cores_a_gpu", 8, "cores", "half of a 128-core host with eight GPUs"),
    ):
        yield Figure(name, value, unit, ASSUMED, why)


def _read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def _measured(name: str, value: float, unit: str, source: str, evidence: dict[str, Any]) -> Figure:
    machine = evidence["machine"]
    return Figure(name, value, unit, MEASURED, f"{source}; {machine['processor']}, {machine['cores']} cores")


def _segment_bytes() -> float:
    """Of one line, with fidelity left out."""
    night = date(2026, 11, 23)
    units = tuple(Unit(n, "line-1", f"{n}.jpg", f"etag:{n}", 1000, _AT, bytes(16)) for n in range(1000))
    facts = [
        ImageFact(n, hashlib.sha256(bytes(n)).hexdigest(), 1000, 1, 1, "JPEG", n, None) for n in range(1000)
    ]
    path = f"tokens/compressor={'0' * 12}/date={night}/{'0' * 16}-{'0' * 16}.parquet"
    data, _ = write_segment(Batch("0" * 32, "0" * 64, night, units), facts, path)
    return len(data) / len(units)


def main() -> int:
    """Write the file; say what is in it."""
    found = figures(FOLDER)
    FIGURES.write_text(written(found))
    for one in found:
        print(f"{one.name}: {one.said}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

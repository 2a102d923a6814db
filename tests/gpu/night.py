"""A night on one GPU against the same photos on this machine's processor: ``python -m tests.gpu.night [--quick]``.

Prints images a second, how busy the GPU was, and how long its model waited for images; writes gpu_night.json.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import torch

from fwd2bot_core.compressor.bundle import save_bundle
from tests.bench import evidence, shapes, tables
from tests.bench.arguments import OUT, Names, Out
from tests.gpu import nights
from tests.gpu.__main__ import device
from tests.gpu.nights import Plan, Way

FEW = 1 / 32  # of the photos, for the processor under a model that is large for it
CLOSE = {"float32": 0.01, "bfloat16": 0.1}  # between vectors of length one from a GPU and from a processor
COLUMNS = {
    "bundle": "bundle",
    "way": "way",
    "images": "images",
    "images/s": "per_second",
    "with start": "per_second_whole",
    "GPU busy %": "gpu_busy",
    "90 %": "gpu_busy_p90",
    "GPU MiB": "gpu_memory_mib",
    "waiting": "waiting",
    "apart": "apart",
}
app = cyclopts.App(name="gpu.night", help=__doc__)


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="Photos of a night.")] = 12_000,
    bundles: Names = ("nano", "medium-32k"),
    quick: Annotated[bool, cyclopts.Parameter(help="3,000 photos and the nano bundle alone.")] = False,
    micro_batch: Annotated[int, cyclopts.Parameter(help="Photos a forward pass.")] = 128,
    out: Out = OUT,
) -> int:
    """Measure each bundle (``nano``, or a shape of tests.bench.shapes with random weights) in each way. Exit code 1
    when GPU and processor do not agree."""
    card, before = device(), evidence.begin()
    if quick:
        images, bundles = 3000, ("nano",)
    with tempfile.TemporaryDirectory(prefix="fwd2bot-gpu-night-") as folder:
        work = Path(folder)
        begun = time.perf_counter()
        nights.lay_out(work / "photos", images)
        print(f"{images} photos in {time.perf_counter() - begun:.0f} s", flush=True)
        rows = [
            row
            for name in bundles
            for row in measured(name, Plan(bundle=name, images=images, micro_batch=micro_batch), work)
        ]
    tables.show(f"nights on {card['name']}", rows, COLUMNS)
    parameters = {"images": images, "micro_batch": micro_batch, "batch_size": Plan.batch_size}
    evidence.write(out / "gpu_night.json", before, {"device": card, "parameters": parameters, "nights": rows})
    return 0 if all(row["agrees"] for row in rows) else 1


def measured(name: str, plan: Plan, work: Path, ways: tuple[Way, ...] | None = None) -> list[dict[str, Any]]:
    """One row a way, each with how far its vectors are from the last way's, which is the processor's."""
    plan, dtype = made(name, plan, work)
    chosen = ways or nights.ways(os.cpu_count() or 1)
    if dtype != "float32":
        chosen = (*chosen[:-1], replace(chosen[-1], share=min(FEW, chosen[-1].share)))
    rows, folders = [], [work / name / str(number) for number in range(len(chosen))]
    for way, folder in zip(chosen, folders, strict=True):
        rows.append({"bundle": name} | nights.measured(plan, way, photos(work, plan.photos(way)), folder))
        print({key: value for key, value in rows[-1].items() if key != "stages"}, flush=True)
    for row, folder in zip(rows, folders, strict=True):
        row["apart"] = round(nights.apart(folder, folders[-1]), 6)
        row["agrees"] = row["apart"] <= CLOSE[dtype]
    return rows


def made(name: str, plan: Plan, work: Path) -> tuple[Plan, str]:
    """The plan with its bundle on disk, and the bundle's numbers: the shipped one, or a shape in bfloat16."""
    if name not in shapes.SHAPES:
        return plan, "float32"
    shape, folder = shapes.SHAPES[name], work / f"{name}.bundle"
    settled = shapes.method(shape, torch.bfloat16)
    net = shapes.net(shape, dtype=torch.bfloat16)
    save_bundle(folder, net, shapes.tokenizer(), settled)
    return replace(plan, bundle=str(folder)), "bfloat16"


def photos(work: Path, count: int) -> Path:
    """The first ``count`` photos as a folder of their own; those of the whole archive are not written twice."""
    whole, part = work / "photos", work / f"photos-{count}"
    if not part.is_dir():
        files = sorted(whole.rglob("*.jpg"), key=lambda file: file.stem)
        if len(files) == count:
            return whole
        for file in files[:count]:
            link = part / file.relative_to(whole)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(file)
    return part


if __name__ == "__main__":
    raise SystemExit(app())

"""Whole nights over the same photos, each its own way: on one GPU's worker process, on a GPU here, on the processor.

Knows settings and summaries of nights. Knows nothing of tables or commands.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.compressor.loading import Device
from fwd2bot_core.compressor.nano.samples import write_archive
from infra.audit_settings import AuditSettings
from infra.settings import (
    ArchiveSettings,
    CollectionSettings,
    CompressorSettings,
    ExecutionSettings,
    NightSettings,
    Settings,
)
from tasks.summary import NightSummary
from tests.bench.photos import SEED
from tests.gpu.usage import Usage


@dataclass(frozen=True, kw_only=True)
class Way:
    """How one night runs."""

    name: str
    executor: str
    device: Device = "auto"
    share: float = 1.0  # of the photos: a processor would take all day for them
    torch_threads: int = 1
    fetch_threads: int = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every way compresses, and in which portions."""

    bundle: str
    images: int
    micro_batch: int = 128
    batch_size: int = 1000

    def photos(self, way: Way) -> int:
        return max(1, round(self.images * way.share))


def ways(cores: int) -> tuple[Way, ...]:
    """The GPU's worker process as operators run it, the same without Dask, and this machine's processor."""
    readers = max(4, cores - 2)
    return (
        Way(name="local-cuda", executor="local-cuda", fetch_threads=readers),
        Way(name="inline, GPU", executor="inline", device="cuda", fetch_threads=readers),
        Way(name="inline, processor", executor="inline", device="cpu", share=1 / 8, torch_threads=0),
    )


class Watching(SilentScreen):
    """Has the GPU watched from the workers being up on."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def starting(self, what: str) -> None:
        if what == "compression":
            self._usage.forget()


def lay_out(root: Path, count: int, processes: int | None = None) -> None:
    """``count`` photos of the sample archive under ``root``, the same ones each time."""
    each = max(1, -(-count // (4 * (processes or os.cpu_count() or 1))))
    parts = [(root, min(each, count - start), start) for start in range(0, count, each)]
    if processes == 1:
        for part in parts:
            _write(part)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(_write, parts))


def _write(part: tuple[Path, int, int]) -> None:
    root, count, start = part
    write_archive(root, count, seed=SEED, start=start)


def settings(plan: Plan, way: Way, photos: Path, folder: Path) -> Settings:
    """A fresh archive and ledger below ``folder``."""
    return Settings(
        archive=ArchiveSettings(store=str(folder / "archive"), ledger=str(folder / "ledger.sqlite")),
        audit=AuditSettings(key=str(folder / "audit-key")),
        collections={"bench": CollectionSettings(originals=str(photos))},
        compressor=CompressorSettings(bundle=plan.bundle, micro_batch=plan.micro_batch),
        execution=ExecutionSettings(
            executor=way.executor,
            workers=1,
            device=way.device,
            torch_threads=way.torch_threads,
            fetch_threads=way.fetch_threads,
        ),
        night=NightSettings(
            batch_size=plan.batch_size, smallest_batch=min(plan.batch_size, 64), engine="direct"
        ),
    )


def measured(plan: Plan, way: Way, photos: Path, folder: Path) -> dict[str, Any]:
    """One night in figures. Raises ``SystemExit`` when it left an image behind."""
    folder.mkdir(parents=True)
    with Usage() as usage:
        summary = run_night(settings(plan, way, photos, folder), None, Watching(usage))
    if summary.compressed != plan.photos(way):
        raise SystemExit(f"{way.name}: {summary.compressed} of {plan.photos(way)} images: {summary.message}")
    return {"way": way.name, **figures(summary), **usage.told()}


def figures(summary: NightSummary) -> dict[str, Any]:
    """Images a second while the worker is up, and with all before and after; ``waiting``: the share of that time in
    which the one worker's model waited for images."""
    stages = {name: round(seconds, 3) for name, seconds in summary.stage_seconds.items()}
    return {
        "images": summary.compressed,
        "per_second": round(summary.images_per_second, 1),
        "per_second_whole": round(summary.compressed / summary.wall_seconds, 1),
        "seconds": round(summary.compress_seconds, 2),
        "waiting": round(stages.get("wait", 0.0) / summary.compress_seconds, 4),
        "stages": stages,
    }


def pooled(folder: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The vector of length one of each photo that a night compressed, by key."""
    shards = [str(path) for path in (folder / "archive" / "tokens").rglob("*.parquet")]
    table = ds.dataset(shards, format="parquet").to_table(columns=["key", "pooled"])
    vectors = (np.asarray(row, np.float32) for row in table["pooled"].to_pylist())
    return dict(zip(table["key"].to_pylist(), vectors, strict=True))


def apart(one: Path, other: Path) -> float:
    """How far the vectors of a photo are apart in two nights, at most; photos of one night alone do not count."""
    mine, others = pooled(one), pooled(other)
    return float(max(np.linalg.norm(mine[key] - others[key]) for key in mine.keys() & others.keys()))

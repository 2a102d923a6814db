"""Runs one rival as a process of its own, and does not believe it: counts what it wrote and looks at some numbers.

The clock starts when the last model process is ready and stops when the last Parquet file is closed: starting the
engine, loading the model and ending the engine are not counted. Knows files and processes, and no engine's inside.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from infra.cluster_settings import ALLOCATOR
from tests.bench.rivals.task import Task

PROGRAMS = {"DataLoader": "loader", "Ray Data": "ray_data", "Daft": "daft_frame"}
PACKAGES = {"DataLoader": "torch", "Ray Data": "ray", "Daft": "daft"}
SETTINGS = {  # the fastest here first; `--tune` runs them all
    "DataLoader": ("loaders=0", "loaders=1"),
    "Ray Data": ("files", "paths"),
    "Daft": ("download", "paths"),
}
QUIET = {  # no engine tells anybody that it runs
    "RAY_USAGE_STATS_ENABLED": "0",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "SCARF_NO_ANALYTICS": "1",
    "DAFT_PROGRESS_BAR": "0",
    "OMP_NUM_THREADS": "1",
}
PATIENCE = 300.0  # seconds for one rival
CLOSE = 0.99  # cosine to our own vector; the plain way decodes photos at full size


class RivalFailed(Exception):
    """It ended in an error, or did not write what it was asked to."""


@dataclass(frozen=True)
class Outcome:
    """What one run took."""

    images_per_second: float
    seconds: float
    with_start: float  # seconds with start and end of the engine


def installed(rival: str) -> str | None:
    """Its version, if it is here."""
    package = PACKAGES[rival]
    return version(package) if importlib.util.find_spec(package) else None


def run(rival: str, task: Task, expected: Mapping[str, npt.NDArray[np.float32]]) -> Outcome:
    """Start, wait, check; raises ``RivalFailed``. ``expected``: the vectors of some keys."""
    environment = os.environ | {name: str(size) for name, size in ALLOCATOR.items()} | QUIET
    began = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"tests.bench.rivals.{PROGRAMS[rival]}", task.text()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise RivalFailed(f"{rival} ({task.setting}) did not end in {PATIENCE:.0f} s") from error
    whole = time.perf_counter() - began
    if done.returncode:
        raise RivalFailed(f"{rival} ({task.setting}) failed:\n{done.stderr[-2000:]}")
    files = sorted(Path(task.out).rglob("*.parquet"))
    check(files, task.keys, expected)
    seconds = (_newest(files) - _newest(list(Path(task.gate).iterdir()))) / 1e9
    return Outcome(len(task.keys) / seconds, seconds, whole)


def check(files: list[Path], keys: list[str], expected: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Every key in one row, and the vectors that are known near what they should be."""
    found: list[str] = []
    for file in files:
        table = pq.ParquetFile(file).read(columns=["key", "pooled"])
        names = table.column("key").to_pylist()
        vectors = np.array(table.column("pooled").to_pylist(), dtype=np.float32)  # [rows, d]
        for name, vector in zip(names, vectors, strict=True):
            if name in expected and float(vector @ expected[name]) < CLOSE:
                raise RivalFailed(f"the vector of {name} is another one: it does not run the same model")
        found += names
    if sorted(found) != sorted(keys):
        raise RivalFailed(
            f"{len(found)} rows of {len(set(found))} photos were written, not {len(keys)} of each one"
        )


def _newest(files: list[Path]) -> int:
    """Nanoseconds; all times are the same kernel's."""
    return max(file.stat().st_mtime_ns for file in files)

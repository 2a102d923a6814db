"""The fastest these processes could go: the same model in a bare loop over bytes that lie in memory already.

No store, no scheduler, no ledger, no overlap: prepare, compress and encode, one after the other, in as many
processes as a night has workers. Model load and process start are not counted: all begin at one barrier, and
the first forward pass, which is slower, is counted on both sides. Memory is allocated as in a worker.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fwd2bot_core.compressor.loading import load
from fwd2bot_core.compressor.protocol import Compressor, Prepared, Summary
from fwd2bot_core.tokens.shard import ShardRow, ShardWriter
from infra.cluster_settings import ALLOCATOR

WAIT = 600.0  # seconds that a process waits for the others
_TAKEN = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True)
class Work:
    """One process's share, and how it goes through it."""

    bundle: str
    files: tuple[Path, ...]
    batch_size: int
    micro_batch: int
    torch_threads: int
    forward: bool  # whether the forward pass alone is measured, too


@dataclass(frozen=True)
class Bound:
    """Images a second of all processes together."""

    whole: float  # prepare, compress, encode
    forward: float | None  # compress alone, over images that are prepared already
    stages: dict[str, float]  # seconds, summed over processes
    processor: float  # seconds of processor time for the whole loop, summed over processes


def measure(
    bundle: str,
    files: Sequence[Path],
    processes: int,
    *,
    batch_size: int,
    micro_batch: int,
    torch_threads: int,
    forward: bool = True,
) -> Bound:
    """Run the whole loop, and that of the ``forward`` pass alone, in ``processes`` processes and add up."""
    os.environ.update(
        {name: str(size) for name, size in ALLOCATOR.items()}
    )  # read by glibc as a child starts
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    answers: Any = context.Queue()
    shares = [
        Work(bundle, tuple(files[n::processes]), batch_size, micro_batch, torch_threads, forward)
        for n in range(processes)
    ]
    children = [context.Process(target=_process, args=(share, barrier, answers)) for share in shares]
    for child in children:
        child.start()
    said: list[dict[str, Any]] = [answers.get(timeout=WAIT) for _ in children]
    for child in children:
        child.join(WAIT)
    stages = {name: sum(one["stages"][name] for one in said) for name in said[0]["stages"]}
    return Bound(
        whole=_rate(said, "whole", len(files)),
        forward=_rate(said, "forward", len(files)) if forward else None,
        stages=stages,
        processor=sum(one["processor"] for one in said),
    )


def _rate(said: list[dict[str, Any]], loop: str, images: int) -> float:
    """From the first process's start to the last one's end; one clock on one machine."""
    took: float = max(one[loop][1] for one in said) - min(one[loop][0] for one in said)
    return images / took


def _process(work: Work, barrier: Any, answers: Any) -> None:
    compressor = load(work.bundle, threads=work.torch_threads)
    bodies = [path.read_bytes() for path in work.files]
    stages = dict.fromkeys(("decode", "forward", "encode"), 0.0)
    spent = time.process_time()
    whole = _timed(barrier, lambda: _whole(compressor, bodies, work, stages))
    spent = time.process_time() - spent
    forward = None
    if work.forward:
        ready = [compressor.prepare(body) for body in bodies]
        forward = _timed(barrier, lambda: _forward(compressor, ready, work.micro_batch))
    answers.put({"whole": whole, "forward": forward, "stages": stages, "processor": spent})


def _timed(barrier: Any, loop: Callable[[], None]) -> tuple[float, float]:
    barrier.wait(WAIT)
    begun = time.monotonic()
    loop()
    return begun, time.monotonic()


def _whole(compressor: Compressor, bodies: list[bytes], work: Work, stages: dict[str, float]) -> None:
    for start in range(0, len(bodies), work.batch_size):
        _shard(compressor, bodies[start : start + work.batch_size], work.micro_batch, stages)


def _shard(compressor: Compressor, bodies: list[bytes], micro_batch: int, stages: dict[str, float]) -> bytes:
    writer = ShardWriter(compressor.spec, "bench")
    for start in range(0, len(bodies), micro_batch):
        some, at = bodies[start : start + micro_batch], time.perf_counter()
        images = [compressor.prepare(body) for body in some]
        decoded = time.perf_counter()
        summary = compressor.compress(images)
        passed = time.perf_counter()
        append(writer, images, some, summary)
        encoded = time.perf_counter()
        stages["decode"] += decoded - at
        stages["forward"] += passed - decoded
        stages["encode"] += encoded - passed
    begun = time.perf_counter()
    shard = writer.finish()
    stages["encode"] += time.perf_counter() - begun
    return shard


def append(writer: ShardWriter, images: list[Prepared], bodies: list[bytes], summary: Summary) -> None:
    rows = [
        ShardRow(
            object_version_id=writer.rows + n,
            content_sha256="0" * 64,  # hashing is the pipeline's own duty, not the bound's
            key=f"bench/{writer.rows + n}.jpg",
            identity="e:0:0",
            modified=_TAKEN,
            width=image.width,
            height=image.height,
            format=image.format,
            source_bytes=len(body),
        )
        for n, (image, body) in enumerate(zip(images, bodies, strict=True))
    ]
    writer.append(rows, summary.tokens, np.ascontiguousarray(summary.pooled))


def _forward(compressor: Compressor, ready: list[Prepared], micro_batch: int) -> None:
    for start in range(0, len(ready), micro_batch):
        compressor.compress(ready[start : start + micro_batch])

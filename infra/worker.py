"""Everything that runs on a worker: one batch of object versions in, one receipt out.

Reading, decoding, the forward pass and encoding overlap, so that the forward pass is the only thing
waited for. An image that cannot be compressed becomes a reject with its reason and takes nobody with it;
only a failing store or model fails the batch. Writes objects, never SQL; imports no Prefect, SQLAlchemy,
tasks or flows.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from fwd2bot_core.audit.segment import segment_path, write_segment
from fwd2bot_core.capture import UNDATED, CaptureRules
from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.loading import Device, load
from fwd2bot_core.compressor.protocol import Compressor
from fwd2bot_core.compressor.view import BUNDLES_OWN, View
from fwd2bot_core.errors import (
    ClusterError,
    CompressorMismatch,
    RejectReason,
)
from fwd2bot_core.tokens import codec
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.fidelity import Fidelity
from fwd2bot_core.tokens.numbers import finite_rows
from fwd2bot_core.tokens.shard import ShardRow, ShardWriter, shard_path
from fwd2bot_core.work import Batch, ImageFact, Receipt, Reject, SegmentFact, ShardFact, StageSeconds
from infra.crashpoints import reach
from infra.duplicates import OncePerContent
from infra.first_pass import FirstPass, Passed
from infra.judging import UNJUDGED, Probing, judged
from infra.objects import ObjectStore, S3Options, open_store
from infra.objects.named import create_named
from infra.reading import Fetched, Source, fetch_all
from infra.sources.containers import open_originals
from infra.sources.rules import FILES_ARE_PHOTOS, ContainerRules

SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker needs to know; small, and without secrets (those stay in its environment)."""

    bundle: str
    fingerprint: str
    originals: str
    originals_s3: S3Options
    archive: str
    archive_s3: S3Options
    micro_batch: int
    torch_threads: int
    fetch_threads: int
    limits: DecodeLimits
    view: View = BUNDLES_OWN
    probing: Probing = UNJUDGED
    codec: CodecName = "exact"
    device: Device = "cpu"
    capture: CaptureRules = UNDATED
    containers: ContainerRules = FILES_ARE_PHOTOS


@dataclass(frozen=True, slots=True)
class _Tools:
    compressor: Compressor
    source: Source
    archive: ObjectStore
    probes: tuple[str, ...]  # none if no image is judged


@dataclass(slots=True)
class _Stopwatch:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - begun)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def load_compressor(config: WorkerConfig) -> str:
    """Load the model into this process, once; returns its fingerprint.

    Raises ``ClusterError`` for another bundle than the run's, ``UsageError`` for a probe that it cannot read.
    """
    return _tools(config).compressor.spec.fingerprint


@lru_cache(maxsize=1)
def _tools(config: WorkerConfig) -> _Tools:
    # The model's thread gives Python's lock away at each operation, and gets it back from a decoding thread only
    # after this long: with the default of 5 ms a small model waits a tenth of its time.
    sys.setswitchinterval(SWITCH_SECONDS)
    compressor = load(
        config.bundle,
        view=config.view,
        threads=config.torch_threads,
        limits=config.limits,
        device=config.device,
    )
    if compressor.spec.fingerprint != config.fingerprint:
        raise ClusterError(
            f"bundle {config.bundle!r} on {_whoami()} has fingerprint {compressor.spec.short}, the run was planned for "
            f"{config.fingerprint[:12]}. Install the same bundle on every worker."
        )
    probes = config.probing.asked(
        compressor
    )  # a bad one costs nothing here, and a night if a batch meets it first
    archive = open_store(config.archive, s3=config.archive_s3, create_root=True)
    originals = open_originals(config.originals, config.originals_s3, config.containers, archive)
    gc.freeze()  # a model and its library are half a million objects; collections need not walk them
    return _Tools(
        compressor,
        Source(originals, compressor, config.limits, config.capture),
        archive,
        probes,
    )


def compress_batch(batch: Batch, config: WorkerConfig) -> Receipt:
    """Compress every unit of a batch, write shard and audit segment, and say what became of each image.

    Running it twice writes the same objects, or other ones under other names; it never overwrites.
    """
    reach("worker.batch-started")
    tools = _tools(config)
    spec = tools.compressor.spec
    if batch.compressor != spec.fingerprint:
        raise CompressorMismatch(
            f"batch {batch.batch_id} is for {batch.compressor[:12]}, not for {spec.short}"
        )
    watch = _Stopwatch()
    writer = ShardWriter(spec, batch.units[0].collection, config.codec)
    facts: dict[int, ImageFact] = {}
    with (
        ThreadPoolExecutor(config.fetch_threads, thread_name_prefix="fetch") as readers,
        ThreadPoolExecutor(1, thread_name_prefix="encode") as encoder,
    ):
        encoded: deque[Future[None]] = deque()
        ahead = 2 * config.micro_batch + config.fetch_threads
        fetched = fetch_all(readers, batch.units, tools.source, ahead)
        forward = OncePerContent(FirstPass(tools.compressor), batch.units)
        for group in _groups(fetched, config.micro_batch, facts, watch):
            with watch("forward"):
                passed = forward(group)
            reach("worker.forward-done")
            with watch("fidelity"):
                known = _judge(tools, writer, passed, config.probing)
            encoded.append(encoder.submit(_encode, writer, passed, known, facts, watch))
            while len(encoded) > 2:  # bounded memory when encoding is slower than the model
                encoded.popleft().result()
        for pending in encoded:
            pending.result()
    return _write(batch, tools, writer, facts, watch)


def _groups(
    fetched: Iterator[Callable[[], Fetched]], size: int, facts: dict[int, ImageFact], watch: _Stopwatch
) -> Iterator[list[Fetched]]:
    """Micro-batches of readable images; rejects go to the facts on the way."""
    group: list[Fetched] = []
    for result in fetched:
        with watch("wait"):
            item = result()
        watch.add("fetch", item.fetch_seconds)
        watch.add("decode", item.decode_seconds)
        if item.reject is not None:
            facts[item.unit.object_version_id] = _fact(item, row=None, reject=item.reject)
            continue
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _judge(
    tools: _Tools,
    writer: ShardWriter,
    passed: Passed,
    probing: Probing,
) -> dict[int, Fidelity | None]:
    """Fidelity by object version, of what will be stored; None for one that was chosen and could not be judged. On the
    model's thread, since the model is asked."""
    known: dict[int, Fidelity | None] = {}
    for items, result in passed if tools.probes else ():
        if isinstance(result, Reject):
            continue
        chosen = finite_rows(result.tokens, writer.spec)
        chosen &= [probing.chooses(item.unit) for item in items]
        mine = [item for item, is_chosen in zip(items, chosen, strict=True) if is_chosen]
        images = [item.prepared for item in mine if item.prepared is not None]
        stored = codec.as_stored(result.tokens[chosen], writer.spec, writer.codec)
        for item, fidelity in zip(mine, judged(tools.compressor, images, stored, tools.probes), strict=True):
            known[item.unit.object_version_id] = fidelity
    return known


def _encode(
    writer: ShardWriter,
    passed: Passed,
    known: dict[int, Fidelity | None],
    facts: dict[int, ImageFact],
    watch: _Stopwatch,
) -> None:
    """Append finite rows to the shard; runs on the one encoding thread."""
    with watch("encode"):
        for items, result in passed:
            if isinstance(result, Reject):
                facts[items[0].unit.object_version_id] = _fact(items[0], row=None, reject=result)
                continue
            good = finite_rows(result.tokens, writer.spec) & np.isfinite(result.pooled).all(axis=1)
            for item, finite in zip(items, good, strict=True):
                if not finite:
                    reject = Reject(
                        RejectReason.NON_FINITE, "the model produced NaN or infinity for this image"
                    )
                    facts[item.unit.object_version_id] = _fact(item, row=None, reject=reject)
            kept = [item for item, finite in zip(items, good, strict=True) if finite]
            first = writer.append([_row(item) for item in kept], result.tokens[good], result.pooled[good])
            for row, item in enumerate(kept, start=first):
                number = item.unit.object_version_id
                fact = _fact(item, row=row, reject=None)
                facts[number] = replace(fact, chosen=number in known, fidelity=known.get(number))


def _write(
    batch: Batch,
    tools: _Tools,
    writer: ShardWriter,
    facts: dict[int, ImageFact],
    watch: _Stopwatch,
) -> Receipt:
    """Shard first, then the audit segment that names it, then the receipt."""
    images = tuple(facts[unit.object_version_id].believed(batch.night) for unit in batch.units)
    shard = None
    if writer.rows:
        with watch("encode"):
            body = writer.finish()
            digest = hashlib.sha256(body).hexdigest()
            shard = ShardFact(
                shard_path(writer.spec, batch.night, batch.batch_id, digest),
                digest,
                len(body),
                writer.rows,
                writer.codec,
            )
        with watch("write"):
            create_named(tools.archive, shard.path, body)
        reach("worker.shard-written")
    with watch("write"):
        data, segment = _segment(batch, images, shard, tools.probes)
        create_named(tools.archive, segment.path, data)
    reach("worker.segment-written")
    receipt = Receipt(
        batch_id=batch.batch_id,
        shard=shard,
        segment=segment,
        images=images,
        stages=StageSeconds(**watch.seconds),
        bytes_in=sum(image.size or 0 for image in images),
        bytes_out=segment.size + (shard.size if shard else 0),
        worker=_whoami(),
        probes=tools.probes,
    )
    reach("worker.receipt-ready")
    return receipt


def _segment(
    batch: Batch, images: tuple[ImageFact, ...], shard: ShardFact | None, probes: tuple[str, ...]
) -> tuple[bytes, SegmentFact]:
    data, subroot = write_segment(batch, images, shard.path if shard else None, probes)
    digest = hashlib.sha256(data).hexdigest()
    path = segment_path(batch.night, batch.batch_id, digest)
    return data, SegmentFact(path, digest, len(data), len(images), subroot)


def _fact(item: Fetched, *, row: int | None, reject: Reject | None) -> ImageFact:
    picture = item.prepared
    return ImageFact(
        object_version_id=item.unit.object_version_id,
        sha256=item.sha256,
        size=item.size,
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        format=picture.format if picture else None,
        row=row,
        reject=reject,
        claims=item.claims,
    )


def _row(item: Fetched) -> ShardRow:
    picture, unit = item.prepared, item.unit
    assert picture is not None
    assert item.sha256 is not None
    assert item.size is not None
    return ShardRow(
        object_version_id=unit.object_version_id,
        content_sha256=item.sha256,
        key=unit.key,
        identity=unit.identity,
        modified=unit.modified,
        width=picture.width,
        height=picture.height,
        format=picture.format,
        source_bytes=item.size,
    )


def _whoami() -> str:
    return f"{os.uname().nodename}:{os.getpid()}"

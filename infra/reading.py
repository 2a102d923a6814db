"""The first half of a worker's batch: object versions read and decoded ahead of the model, on threads.

What is wrong with one image becomes its reject; only a store that is down is raised. Knows nothing about the forward
pass or what becomes of the result.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fwd2bot_core.capture import (
    NOTHING_SAID,
    UNDATED,
    CaptureRules,
    Claims,
    captured_from_exif,
    captured_from_key,
)
from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.exif import taken
from fwd2bot_core.compressor.protocol import Compressor, Prepared
from fwd2bot_core.errors import (
    ImageRejected,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    RejectReason,
    StoreError,
    StoreUnreachable,
)
from fwd2bot_core.work import Reject, Unit
from infra.crashpoints import reach
from infra.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Source:
    """Where photos come from, and what makes them ready."""

    originals: ObjectStore
    compressor: Compressor
    limits: DecodeLimits
    capture: CaptureRules = UNDATED


@dataclass(frozen=True, slots=True)
class Fetched:
    """One unit after reading and decoding: ready for the forward pass, or rejected."""

    unit: Unit
    sha256: str | None
    size: int | None
    prepared: Prepared | None
    reject: Reject | None
    fetch_seconds: float
    decode_seconds: float
    claims: Claims = NOTHING_SAID  # of when it was taken


def fetch_all(
    readers: ThreadPoolExecutor, units: Sequence[Unit], source: Source, ahead: int
) -> Iterator[Callable[[], Fetched]]:
    """Results in the order of the units, at most ``ahead`` of them under way; each is waited for when called."""
    flying: deque[Future[Fetched]] = deque()
    for unit in units:
        flying.append(readers.submit(fetch, unit, source))
        if len(flying) >= ahead:
            yield flying.popleft().result
    while flying:
        yield flying.popleft().result


def fetch(unit: Unit, source: Source) -> Fetched:
    """Read and decode one object version. Raises ``StoreUnreachable``, which says nothing about the image: its
    batch stays planned, and the next night resumes it."""
    data, digest, prepared, reject = None, None, None, None
    begun = time.perf_counter()
    read_at = begun
    try:
        data = _read(unit, source)
        read_at = time.perf_counter()
        reach("worker.image-fetched")
        digest = hashlib.sha256(data).hexdigest()
        _check_same_content(unit, digest)
        prepared = source.compressor.prepare(data)
    except ImageRejected as error:
        reject = Reject(error.reason, error.detail)
    except StoreUnreachable:
        raise
    except Exception as error:  # a row with a reason, never an omission
        reject = Reject(RejectReason.INTERNAL, f"{type(error).__name__}: {error}")
    ended = time.perf_counter()
    return Fetched(
        unit=unit,
        sha256=digest,
        size=len(data) if data is not None else None,
        prepared=prepared,
        reject=reject,
        fetch_seconds=(read_at if data is not None else ended) - begun,
        decode_seconds=ended - read_at if data is not None else 0.0,
        claims=claims_of(unit.key, data, source.capture, source.limits),
    )


def claims_of(key: str, data: bytes | None, rules: CaptureRules, limits: DecodeLimits) -> Claims:
    """What a photo's key and, where it could be read, its file say of when it was taken, as far as ``rules`` ask."""
    name = None if rules.name is None else captured_from_key(key, rules.name, rules.zone)
    fields = taken(data, limits) if rules.exif and data is not None else None
    return Claims(exif=None if fields is None else captured_from_exif(*fields, rules.zone), name=name)


_REJECTED_READS = {
    ObjectMissing: RejectReason.VANISHED,
    ObjectChanged: RejectReason.CHANGED,
    ObjectForbidden: RejectReason.FORBIDDEN,
}


def _read(unit: Unit, source: Source) -> bytes:
    largest = source.limits.max_bytes
    if unit.size > largest:
        raise ImageRejected(
            RejectReason.TOO_MANY_BYTES, f"{unit.size:,} bytes; limits.max_bytes is {largest:,}"
        )
    try:
        return source.originals.read(unit.key, identity=unit.identity)
    except StoreUnreachable:
        raise
    except StoreError as error:
        reason = _REJECTED_READS.get(type(error), RejectReason.STORE_ERROR)
        raise ImageRejected(reason, str(error)) from error


def _check_same_content(unit: Unit, digest: str) -> None:
    """What one identity holds must not change: summary tokens that exist already would be said to show it."""
    if unit.content_sha256 not in (None, digest):
        raise ImageRejected(
            RejectReason.CHANGED,
            "other bytes than when it was first read, under the same identity; write it again under a new one",
        )

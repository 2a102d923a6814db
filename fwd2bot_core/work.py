"""What travels between the driver and a worker: units and batches out, receipts back.

Knows plain, frozen, picklable values. Knows nothing about how they travel, where images lie, how they are
compressed or what SQL does with the facts afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta

from fwd2bot_core.capture import NOTHING_SAID, Claims
from fwd2bot_core.errors import RejectReason
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.fidelity import Fidelity


@dataclass(frozen=True, slots=True)
class Unit:
    """One object version to compress."""

    object_version_id: int  # the ledger's number for it; never part of a name
    collection: str
    key: str
    identity: str  # ``ObjectInfo.identity``: version id, or ETag and size
    size: int  # bytes, as listed
    modified: datetime  # aware, UTC
    salt: bytes  # for the commitments that stand for its key and hash in the audit log
    content_sha256: str | None = None  # of its bytes, 64 hex digits, if they were read before
    facts: int = 0  # in the audit trail about it so far: the number of the line that this batch adds


@dataclass(frozen=True, slots=True)
class Batch:
    """Units that one worker compresses into one shard and one audit segment."""

    batch_id: str  # ``batch_id_of(units, compressor)``
    compressor: str  # fingerprint, 64 hex digits
    night: date
    units: tuple[Unit, ...]


def batch_id_of(units: Iterable[Unit], fingerprint: str) -> str:
    """32 hex digits that depend on what is compressed by which compressor, and on nothing else.

    The order of ``units``, the ledger's numbers, the facts so far and the night do not matter. The salts do, since
    the name stands in the audit log: without them nobody can find out by trying which photo a batch of one holds.
    """
    digest = hashlib.sha256(b"fwd2bot batch v1")
    _feed(digest, fingerprint)
    for names in sorted((unit.collection, unit.key, unit.identity, unit.salt.hex()) for unit in units):
        for name in names:
            _feed(digest, name)
    return digest.hexdigest()[:32]


def _feed(digest: hashlib._Hash, text: str) -> None:
    """Length-prefixed, so that no two different sequences of texts feed the same bytes."""
    data = text.encode("utf-8", "surrogatepass")  # a POSIX file name need not be valid Unicode
    digest.update(len(data).to_bytes(8, "big"))
    digest.update(data)


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an image got no summary tokens."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class ImageFact:
    """What became of one unit. Exactly one of ``row`` and ``reject`` is None."""

    object_version_id: int
    sha256: str | None  # of the file's bytes, 64 hex digits; None if it could not be read
    size: int | None  # bytes really read
    width: int | None  # of the upright picture; None if it could not be decoded
    height: int | None
    format: str | None  # "JPEG", "PNG", ...
    row: int | None  # its row in the shard
    reject: Reject | None
    fidelity: Fidelity | None = None  # of its stored tokens; None: not known
    chosen: bool = False  # to be judged; without a fidelity: it could not be
    claims: Claims = NOTHING_SAID  # of when it was taken

    def believed(self, night: date) -> ImageFact:
        """Without claims that the photo was taken after the night that compressed it, or before there were any: by the
        night's date and not by a clock, so that a batch that runs twice says the same."""
        if not self.claims.said:
            return self
        return replace(
            self, claims=self.claims.believed(datetime.combine(night, time(), UTC) + timedelta(days=1))
        )


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Seconds spent in each stage, summed over threads; stages overlap, so they may exceed wall time."""

    fetch: float = 0.0
    decode: float = 0.0
    forward: float = 0.0
    encode: float = 0.0
    write: float = 0.0
    wait: float = 0.0  # the forward loop waited for decoded images
    fidelity: float = 0.0  # comparing what stored tokens and images say

    def __add__(self, other: StageSeconds) -> StageSeconds:
        return StageSeconds(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


STAGES = tuple(field.name for field in fields(StageSeconds))


@dataclass(frozen=True, slots=True)
class ShardFact:
    """A shard that lies durably in the token store."""

    path: str
    sha256: str  # of the whole file, 64 hex digits
    size: int  # bytes
    rows: int
    codec: CodecName  # of its tokens


@dataclass(frozen=True, slots=True)
class SegmentFact:
    """An audit segment that lies durably in the token store."""

    path: str
    sha256: str
    size: int
    rows: int
    subroot: str  # RFC 6962 root over its lines, 64 hex digits


@dataclass(frozen=True, slots=True)
class Receipt:
    """All that a worker says about one batch; only the commit turns it into SQL."""

    batch_id: str
    shard: ShardFact | None  # None if every image was rejected
    segment: SegmentFact
    images: tuple[ImageFact, ...]
    stages: StageSeconds
    bytes_in: int  # of image files read
    bytes_out: int  # of shard and segment written
    worker: str
    probes: tuple[str, ...] = ()  # the questions that fidelity was judged by; none if it was not

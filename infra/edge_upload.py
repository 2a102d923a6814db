"""Is what a line uploaded just what a worker makes of that batch, and says in that receipt?

The segment is written again here from the receipt and compared byte by byte; the shard is opened, and each row must be
of the image that the receipt puts there. What tokens say of a photo that is not here nobody can check. Knows nothing
about who uploaded it or what becomes of it.
"""

from __future__ import annotations

import hashlib
import io

from fwd2bot_core.audit.segment import segment_path, write_segment
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import Fwd2BotError, UsageError
from fwd2bot_core.tokens.shard import read_head, read_rows, shard_path
from fwd2bot_core.work import Batch, Receipt


def require_same(
    spec: CompressorSpec, batch: Batch, receipt: Receipt, shard: bytes | None, segment: bytes
) -> None:
    """Raises ``UsageError`` unless segment and shard are what a worker makes of this batch and says in this receipt."""
    fact = receipt.segment
    try:
        path = receipt.shard.path if receipt.shard else None
        expected, subroot = write_segment(batch, receipt.images, path, receipt.probes)
    except (ValueError, KeyError) as error:
        raise UsageError(f"the receipt is not of batch {batch.batch_id}: {error}") from None
    digest = hashlib.sha256(segment).hexdigest()
    said = (fact.path, fact.sha256, fact.size, fact.rows, fact.subroot)
    is_so = (
        segment_path(batch.night, batch.batch_id, digest),
        digest,
        len(segment),
        len(batch.units),
        subroot,
    )
    if segment != expected or said != is_so:
        raise UsageError(f"the segment of batch {batch.batch_id} is not what its receipt says; send it again")
    if not _same_shard(spec, batch, receipt, shard):
        raise UsageError(f"the shard of batch {batch.batch_id} is not what its receipt says; send it again")


def _same_shard(spec: CompressorSpec, batch: Batch, receipt: Receipt, shard: bytes | None) -> bool:
    kept = {image.row: image for image in receipt.images if image.row is not None}
    fact = receipt.shard
    if fact is None or shard is None:
        return fact is None and shard is None and not kept
    digest = hashlib.sha256(shard).hexdigest()
    path = shard_path(spec, batch.night, batch.batch_id, digest)
    if (fact.path, fact.sha256, fact.size, fact.rows) != (path, digest, len(shard), len(kept)):
        return False
    try:
        head, rows = read_head(io.BytesIO(shard)), read_rows(io.BytesIO(shard))
    except Fwd2BotError:
        return False
    units = {unit.object_version_id: unit for unit in batch.units}
    named = [(row.object_version_id, row.content_sha256, row.key, row.identity) for row in rows]
    images = [kept[number] for number in sorted(kept)]
    if sorted(kept) != list(range(len(rows))):
        return False
    expected = [
        (image.object_version_id, image.sha256, unit.key, unit.identity)
        for image, unit in ((image, units[image.object_version_id]) for image in images)
    ]
    return (head.spec.fingerprint, head.codec, named) == (spec.fingerprint, fact.codec, expected)

"""The manifest: which shards are committed, for readers without access to the ledger.

Derived from the ledger after the commit, and rebuildable from it at any time: numbered manifests are
create-only, a pointer to the newest is replaced. Never lists the store, where orphans may lie.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import ObjectExists
from fwd2bot_core.tokens.codec import known
from fwd2bot_core.tokens.manifest import ManifestShard, manifest_of, write_manifest
from infra import leases
from infra.crashpoints import reach
from infra.database import Ledger
from infra.erasure_tables import shard_rewrites
from infra.objects import ObjectStore
from infra.tables import collections, shards
from tasks.runs import Run


def pointer_path(collection: str, spec: CompressorSpec) -> str:
    """Where the newest manifest of a collection and compressor always lies."""
    return pointer_of(collection, spec.fingerprint)


def pointer_of(collection: str, fingerprint: str) -> str:
    """The same for a compressor of which only the fingerprint is known."""
    return f"manifests/{collection}/compressor={fingerprint[:12]}/latest.json"


def publish(ledger: Ledger, archive: ObjectStore, run: Run) -> str:
    """Write the manifest of everything committed so far by the run's compressor; returns the pointer's path.

    Holds the lease's row while the pointer moves, so that a run that was taken over cannot set it back; and the
    collection's, so that of a night and a backfill the later one to look is the later one to write.
    """
    with ledger.write() as connection:
        leases.check(connection, run.lease)
        place = (run.collection_id, run.compressor_id)
        return publish_now(connection, archive, run.collection, run.spec, place)


def spec_of(row: sa.Row[Any]) -> CompressorSpec:
    """As much of a compressor as its row in the ledger tells, which is all that a manifest says of it."""
    told = {name: getattr(row, name) for name in ("name", "fingerprint", "k", "d", "dtype")}
    return CompressorSpec(**told, prompt="", preprocessing={})


def publish_now(
    connection: sa.Connection,
    archive: ObjectStore,
    collection: str,
    spec: CompressorSpec,
    place: tuple[int, int],
) -> str:
    """The same in a transaction of the caller's, who works without a run; ``place``: the ledger's numbers of the
    collection and the compressor."""
    pointer = pointer_path(collection, spec)
    mine = sa.select(collections.c.id).where(collections.c.id == place[0])
    connection.execute(mine.with_for_update(key_share=True))
    committed = (shards.c.collection_id == place[0], shards.c.compressor_id == place[1])
    rows = connection.execute(sa.select(shards).where(*committed).order_by(shards.c.id)).all()
    generation = _generation(connection, place)
    named = tuple(
        ManifestShard(
            path=row.path, sha256=row.sha256, bytes=row.bytes, rows=row.rows, codec=known(row.codec)
        )
        for row in rows
    )
    root = readable_root(archive.uri)
    made = manifest_of(spec, generation=generation, root=root, collection=collection, shards=named)
    body = write_manifest(made)
    with suppress(ObjectExists):  # by a night that died between the two writes, or one without news
        archive.create(f"{pointer.rpartition('/')[0]}/{generation:012d}.json", body)
    reach("driver.manifest-written")
    archive.replace(pointer, body)
    return pointer


def _generation(connection: sa.Connection, place: tuple[int, int]) -> int:
    """Grows with each commit and with each shard that is written again, so equal numbers mean equal contents."""
    mine = (shards.c.collection_id == place[0], shards.c.compressor_id == place[1])
    again = (shard_rewrites.c.collection_id == place[0], shard_rewrites.c.compressor_id == place[1])
    newest = (
        sa.select(sa.func.max(shards.c.id)).where(*mine),
        sa.select(sa.func.max(shard_rewrites.c.shard_id)).where(*again),
    )
    highest = max(connection.execute(one).scalar() or 0 for one in newest)
    count = sa.select(sa.func.count()).select_from(shard_rewrites).where(*again)
    return int(highest) + int(connection.execute(count).scalar_one())


def readable_root(uri: str) -> str:
    """A local root as a plain path, since not every engine decodes file:// URIs."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri

"""The manifest: which shards are committed, for readers without access to the ledger.

Derived from the ledger after the commit, and rebuildable from it at any time: numbered manifests are
create-only, a pointer to the newest is replaced. Never lists the store, where orphans may lie.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import ObjectExists
from fwd2bot_core.tokens.codec import known
from fwd2bot_core.tokens.manifest import ManifestShard, manifest_of, write_manifest
from infra import leases
from infra.crashpoints import reach
from infra.database import Ledger
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
    pointer = pointer_path(run.collection, run.spec)
    with ledger.write() as connection:
        leases.check(connection, run.lease)
        mine = sa.select(collections.c.id).where(collections.c.id == run.collection_id)
        connection.execute(mine.with_for_update(key_share=True))
        rows = connection.execute(
            sa.select(shards)
            .where(shards.c.collection_id == run.collection_id, shards.c.compressor_id == run.compressor_id)
            .order_by(shards.c.id)
        ).all()
        generation = (
            rows[-1].id if rows else 0
        )  # grows with each commit, so equal numbers mean equal contents
        body = write_manifest(
            manifest_of(
                run.spec,
                generation=generation,
                root=readable_root(archive.uri),
                collection=run.collection,
                shards=tuple(
                    ManifestShard(
                        path=row.path,
                        sha256=row.sha256,
                        bytes=row.bytes,
                        rows=row.rows,
                        codec=known(row.codec),
                    )
                    for row in rows
                ),
            )
        )
        with suppress(ObjectExists):  # by a night that died between the two writes, or one without news
            archive.create(f"{pointer.rpartition('/')[0]}/{generation:012d}.json", body)
        reach("driver.manifest-written")
        archive.replace(pointer, body)
    return pointer


def readable_root(uri: str) -> str:
    """A local root as a plain path, since not every engine decodes file:// URIs."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri

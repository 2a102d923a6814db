"""Does the manifest of each collection and compressor name exactly the shards that the ledger has committed?

Readers without the ledger believe it. It is derived, so what is wrong with it is mended by the next night.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import IntegrityError, ObjectMissing, StoreError, StoreUnreachable
from fwd2bot_core.tokens.manifest import Manifest, read_manifest
from infra import leases
from infra.database import Ledger
from infra.objects import ObjectStore
from infra.tables import RunState, collections, compressors, runs, shards
from tasks.backfills import slot
from tasks.publish import pointer_of
from tasks.runs import NIGHTS
from tasks.verify_objects import Finding

MEND = "Run `fwd2bot night`, it is rebuilt from the ledger."


def check_manifests(ledger: Ledger, archive: ObjectStore) -> Iterator[Finding]:
    """One finding for each pointer that is missing, damaged, older than the ledger, or names what it lacks.

    While a run works on a collection its pointer may be older: the run will replace it. Raises
    ``StoreUnreachable``.
    """
    for pair in _pairs(ledger):
        working = _is_worked_on(ledger, pair.collection)  # asked first: a run that ends now has published
        path = pointer_of(pair.collection, pair.fingerprint)
        try:
            manifest = read_manifest(archive.read(path))
        except StoreUnreachable:
            raise  # it says nothing about what is stored
        except ObjectMissing:
            if pair.published and not working:
                yield Finding("manifest", path, f"it is missing. {MEND}")
        except (IntegrityError, StoreError) as error:
            yield Finding("manifest", path, f"{error}. {MEND}")
        else:
            for problem in _problems(ledger, pair, manifest, working):
                yield Finding("manifest", path, problem)


def _pairs(ledger: Ledger) -> list[Any]:
    """Every collection and compressor that a run worked with, and whether one of these runs got to its end."""
    ended = sa.case((runs.c.state.in_([RunState.COMPLETED, RunState.PARTLY_FAILED]), 1), else_=0)
    with ledger.read() as connection:
        return list(
            connection.execute(
                sa.select(
                    runs.c.collection_id,
                    runs.c.compressor_id,
                    collections.c.name.label("collection"),
                    compressors.c.fingerprint,
                    sa.func.max(ended).label("published"),
                )
                .join(collections, collections.c.id == runs.c.collection_id)
                .join(compressors, compressors.c.id == runs.c.compressor_id)
                .group_by(
                    runs.c.collection_id, runs.c.compressor_id, collections.c.name, compressors.c.fingerprint
                )
                .order_by(collections.c.name, runs.c.compressor_id)
            )
        )


def _is_worked_on(ledger: Ledger, collection: str) -> bool:
    slots = {f"{NIGHTS}{collection}", slot(collection)}
    with ledger.read() as connection:
        return any(row.slot in slots for row in leases.holders(connection, ledger))


def _problems(ledger: Ledger, pair: Any, manifest: Manifest, working: bool) -> Iterator[str]:
    about = (manifest.collection, manifest.compressor.fingerprint)
    if about != (pair.collection, pair.fingerprint):
        yield f"it is the manifest of {about[0]!r} and compressor {about[1][:12]}. {MEND}"
        return
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(shards.c.path, shards.c.sha256, shards.c.bytes, shards.c.rows, shards.c.codec).where(
                shards.c.collection_id == pair.collection_id, shards.c.compressor_id == pair.compressor_id
            )
        )
        committed = {tuple(row) for row in rows}
    named = {(shard.path, shard.sha256, shard.bytes, shard.rows, shard.codec) for shard in manifest.shards}
    if strange := sorted(named - committed):
        yield (
            f"it names {len(strange):,} shards that the ledger did not commit so, first {strange[0][0]}. Is the "
            "ledger older than the archive, restored from a backup?"
        )
    if committed - named and not working:
        yield (
            f"it is older than the ledger: it lacks {len(committed - named):,} of {len(committed):,} committed "
            f"shards. {MEND}"
        )

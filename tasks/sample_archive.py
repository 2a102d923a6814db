"""Is a collection the sample archive, and nothing else? Only there may a demonstration compressor be the reason that an
original goes.

Recognised by every key, and by labels that are those of so many sample photos byte for byte: answers to them are right
only from tokens of the sample's own pictures. Knows the sample and the ledger's keys. Knows nothing of policies.
"""

from __future__ import annotations

import hashlib
import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from fwd2bot_core.compressor.nano import labels, samples
from infra.tables import collections, object_versions
from tasks.sample import SEED

MOST = 2_000  # photos; a larger archive is no sample, and its labels would take seconds to write
FOLDER = "photos"  # in which `fwd2bot demo` lays them


def is_sample(connection: sa.Connection, collection: str, labels_sha256: str) -> bool:
    """Whether the collection holds the first n sample photos, by their keys, and these are the labels of those."""
    keys = (
        sa.select(object_versions.c.key)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(collections.c.name == collection)
        .distinct()
        .limit(MOST + 1)
    )
    found = set(connection.execute(keys).scalars())
    if not 0 < len(found) <= MOST or found != {samples.key(index) for index in range(len(found))}:
        return False
    return labels_sha256 == _labels_sha256(len(found))


@cache
def _labels_sha256(count: int) -> str:
    with tempfile.TemporaryDirectory(prefix="fwd2bot-sample-") as folder:
        file = Path(folder) / "labels.jsonl"
        labels.write(file, FOLDER, count, seed=SEED)
        return hashlib.sha256(file.read_bytes()).hexdigest()

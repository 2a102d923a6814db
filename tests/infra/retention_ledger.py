"""A ledger with two collections, compressors, sets of questions and holds, into which photos are put as a test says."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.retention.facts import ObjectFacts
from infra.retention_tables import hold_members, legal_holds, object_dates, object_facts, object_tags
from infra.tables import (
    batches,
    collections,
    compressors,
    contents,
    object_versions,
    probe_sets,
    runs,
    shards,
    summaries,
)
from tests.core.retention.policies import COMPRESSOR, NOW, OTHER, OTHER_PROBES, PROBES

COLLECTIONS = {"line-1": 1, "line-2": 2}
COMPRESSORS = {COMPRESSOR: 1, OTHER: 2}
PROBE_SETS = {PROBES: 1, OTHER_PROBES: 2}
CODECS = ("exact", "bits4")
HOLDS = {"case-1": 1, "case-2": 2}  # in force
RELEASED = 3
_AT = NOW


def furnish(connection: sa.Connection) -> None:
    """All that photos refer to."""
    for name, number in COLLECTIONS.items():
        place = {"originals": f"s3://originals/{name}", "prefix": "", "registered_at": _AT}
        connection.execute(collections.insert().values(id=number, name=name, **place))
    for fingerprint, number in COMPRESSORS.items():
        shape = {"k": 1, "d": 1, "dtype": "float32", "token_bytes": 4}
        connection.execute(
            compressors.insert().values(
                id=number, fingerprint=fingerprint, name="n", registered_at=_AT, **shape
            )
        )
    for sha256, number in PROBE_SETS.items():
        connection.execute(probe_sets.insert().values(id=number, sha256=sha256, questions="[]"))
    for number in (*HOLDS.values(), RELEASED):
        connection.execute(
            legal_holds.insert().values(
                id=number, name=f"case-{number}", reason="r", author_ref="a", confidential=number == 2,
                placed_at=_AT, released_at=_AT if number == RELEASED else None,
            )
        )  # fmt: skip
    _shards(connection)


def _shards(connection: sa.Connection) -> None:
    """One of each compressor and codec; which collection it says matters to nobody here."""
    common: dict[str, Any] = {"collection_id": 1, "compressor_id": 1}
    connection.execute(
        runs.insert().values(
            id="r", kind="night", state="completed", fencing=1, night=_AT.date(), started_at=_AT, host="h", pid=1,
            software="s", **common,
        )
    )  # fmt: skip
    for fingerprint in COMPRESSORS:
        for codec in CODECS:
            number, name = shard_number(fingerprint, codec), f"{fingerprint[:4]}-{codec}"
            connection.execute(
                batches.insert().values(
                    id=name, run_id="r", night=_AT.date(), state="committed", units=1, bytes=1, attempts=1,
                    planned_at=_AT, **common,
                )
            )  # fmt: skip
            connection.execute(
                shards.insert().values(
                    id=number, path=name, batch_id=name, run_id="r", night=_AT.date(), sha256="s", bytes=1, rows=1,
                    codec=codec, committed_at=_AT, **common,
                )
            )  # fmt: skip


def shard_number(fingerprint: str, codec: str) -> int:
    return 2 * COMPRESSORS[fingerprint] + CODECS.index(codec)


def put(connection: sa.Connection, photo: ObjectFacts, *, released: bool = False, size: int = 1000) -> None:
    """Write down what is known of a photo; holds are named as in ``HOLDS``, and ``released`` adds one of the past."""
    if photo.content is not None and not _known(connection, photo.content):
        connection.execute(contents.insert().values(sha256=photo.content, size=size))
    connection.execute(
        object_versions.insert().values(
            id=photo.id,
            collection_id=COLLECTIONS[photo.collection],
            key=photo.key,
            identity=photo.identity,
            size=size,
            modified=_AT,
            salt=secrets.token_bytes(16),
            content_sha256=photo.content,
            first_seen_at=photo.first_seen_at,
            superseded_at=_AT if photo.superseded else None,
            destroyed_seq=1 if photo.destroyed else None,
        )
    )
    mine = {"object_version_id": photo.id}
    if photo.captured_at is not None:
        connection.execute(object_facts.insert().values(captured_at=photo.captured_at, **mine))
    _put_all(connection, object_dates, mine, [{"name": name, "at": at} for name, at in photo.dates.items()])
    _put_all(connection, object_tags, mine, [{"tag": tag} for tag in photo.tags])
    holds = [HOLDS[hold.name] for hold in photo.holds] + [RELEASED] * released
    _put_all(connection, hold_members, mine, [{"hold_id": number} for number in holds])
    made = [
        {
            "compressor_id": COMPRESSORS[fingerprint],
            "shard_id": shard_number(fingerprint, summary.codec),
            "row": photo.id,
            "source_bytes": size,
            "token_bytes": 4,
            "fidelity": summary.fidelity,
            "probe_set_id": PROBE_SETS[summary.probes] if summary.probes else None,
        }
        for fingerprint, summary in photo.summaries.items()
    ]
    _put_all(connection, summaries, mine, made)


def _known(connection: sa.Connection, sha256: str) -> bool:
    return (
        connection.execute(sa.select(contents.c.size).where(contents.c.sha256 == sha256)).first() is not None
    )


def _put_all(
    connection: sa.Connection, table: sa.Table, mine: Mapping[str, int], rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        connection.execute(table.insert().values(**mine, **row))

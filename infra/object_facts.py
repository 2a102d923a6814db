"""The facts of single object versions, gathered from the ledger for ``fwd2bot_core.retention.decide``.

Few rows at a time: a decision of millions is ``infra.policy_sql``. Knows queries. Knows nothing about policies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.capture import Claims
from fwd2bot_core.retention.facts import Hold, ObjectFacts, Summary
from infra.hold_reach import reaching
from infra.retention_tables import object_dates, object_facts, object_tags
from infra.tables import collections, compressors, object_versions, probe_sets, shards, summaries


def facts(connection: sa.Connection, numbers: Sequence[int]) -> list[ObjectFacts]:
    """Of these object versions, by number; one that the ledger does not know is left out."""
    dates, tags = _dates(connection, numbers), _tags(connection, numbers)
    holds, made = _holds(connection, numbers), _summaries(connection, numbers)
    photo = object_versions.c
    rows = connection.execute(
        sa.select(object_versions, collections.c.name, object_facts)
        .join(collections, collections.c.id == photo.collection_id)
        .outerjoin(object_facts, object_facts.c.object_version_id == photo.id)
        .where(photo.id.in_(numbers))
        .order_by(photo.id)
    )
    return [
        ObjectFacts(
            id=row.id,
            collection=row.name,
            key=row.key,
            identity=row.identity,
            first_seen_at=row.first_seen_at,
            superseded=row.superseded_at is not None,
            destroyed=row.destroyed_seq is not None,
            content=row.content_sha256,
            captured_at=row.captured_at,
            captured_by=claims_of(row).origin,
            dates=dates[row.id],
            tags=frozenset(tags[row.id]),
            holds=tuple(holds[row.id]),
            summaries=made[row.id],
        )
        for row in rows
    ]


def claims_of(row: sa.Row[Any]) -> Claims:
    """What is said of when a photo was taken, of a row of the table ``object_facts``."""
    doubts = [one.partition(":") for one in (row.doubts or "").split()]
    return Claims(
        exif=row.exif_at,
        name=row.name_at,
        told=row.told_at,
        overrules=bool(row.overrules),
        doubts=tuple((who, why) for who, _, why in doubts),
    )


def _dates(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, dict[str, datetime]]:
    found: dict[int, dict[str, datetime]] = defaultdict(dict)
    rows = sa.select(object_dates).where(object_dates.c.object_version_id.in_(numbers))
    for row in connection.execute(rows):
        found[row.object_version_id][row.name] = row.at
    return found


def _tags(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for row in connection.execute(sa.select(object_tags).where(object_tags.c.object_version_id.in_(numbers))):
        found[row.object_version_id].append(row.tag)
    return found


def _holds(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, list[Hold]]:
    """Those in force that reach them, by name."""
    found: dict[int, list[Hold]] = defaultdict(list)
    for one in sorted(reaching(connection, numbers), key=lambda one: (one.name, one.hold)):
        found[one.number].append(Hold(name=one.name, confidential=one.confidential))
    return found


def _summaries(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, dict[str, Summary]]:
    """By the compressor's fingerprint."""
    found: dict[int, dict[str, Summary]] = defaultdict(dict)
    rows = connection.execute(
        sa.select(
            summaries.c.object_version_id,
            compressors.c.fingerprint,
            shards.c.codec,
            summaries.c.fidelity,
            probe_sets.c.sha256,
        )
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .outerjoin(probe_sets, probe_sets.c.id == summaries.c.probe_set_id)
        .where(summaries.c.object_version_id.in_(numbers))
    )
    for number, fingerprint, codec, fidelity, probes in rows:
        found[number][fingerprint] = Summary(codec=codec, fidelity=fidelity, probes=probes)
    return found

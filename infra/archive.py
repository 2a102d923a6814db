"""The reading side: runs, images, tokens and answers, from the ledger and the committed shards.

``Archive`` is what other programs import. Reads committed rows only and never an original. Knows nothing about how
anything was made.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.segment import read_segment
from infra import leases
from infra.archive_face import Archive as Archive
from infra.archive_face import ask as ask
from infra.installation import Installation
from infra.lookup import Stored as Stored
from infra.lookup import find
from infra.lookup import locate as locate
from infra.stored_tokens import many_tokens as many_tokens
from infra.stored_tokens import tokens as tokens
from infra.tables import (
    audit_segments,
    batches,
    collections,
    compressors,
    failures,
    object_versions,
    probe_sets,
    runs,
    shards,
    summaries,
    work,
)


def status(installation: Installation, *, limit: int = 10) -> dict[str, Any]:
    """Recent runs, totals, open failures, and who works now, as plain JSON values."""
    with installation.ledger.read() as connection:
        recent = connection.execute(
            sa.select(runs, collections.c.name.label("collection"), compressors.c.fingerprint)
            .join(collections, collections.c.id == runs.c.collection_id)
            .join(compressors, compressors.c.id == runs.c.compressor_id)
            .order_by(runs.c.started_at.desc(), runs.c.id.desc())
            .limit(limit)
        ).all()
        return {
            "runs": [_run(row) for row in recent],
            "collections": _totals(connection),
            "failures": _open_failures(connection),
            "working": [
                {name: row._mapping[name] for name in ("slot", "run_id", "host", "pid")}
                for row in leases.holders(connection, installation.ledger)
            ],
        }


def _run(row: sa.Row[Any]) -> dict[str, Any]:
    summary = json.loads(row.summary) if row.summary else {}
    return {
        "run_id": row.id,
        "kind": row.kind,
        "collection": row.collection,
        "night": row.night.isoformat(),
        "state": row.state,
        "started_at": row.started_at.isoformat(),
        "ended_at": row.ended_at.isoformat() if row.ended_at else None,
        "compressor": row.fingerprint[:12],
        "compressed": summary.get("compressed"),
        "failed": summary.get("failed"),
        "left": summary.get("left"),
        "message": row.message,
        "summary": summary,
    }


def _totals(connection: sa.Connection) -> list[dict[str, Any]]:
    committed = (
        sa.select(
            shards.c.collection_id,
            shards.c.compressor_id,
            sa.func.count().label("shards"),
            sa.func.sum(shards.c.rows).label("images"),
            sa.func.sum(shards.c.bytes).label("token_bytes"),
        )
        .group_by(shards.c.collection_id, shards.c.compressor_id)
        .subquery()
    )
    source = (
        sa.select(
            shards.c.collection_id,
            shards.c.compressor_id,
            sa.func.sum(summaries.c.source_bytes).label("bytes"),
        )
        .join(summaries, summaries.c.shard_id == shards.c.id)
        .group_by(shards.c.collection_id, shards.c.compressor_id)
        .subquery()
    )
    rows = connection.execute(
        sa.select(
            collections.c.name.label("collection"),
            compressors.c.name.label("compressor"),
            compressors.c.fingerprint,
            committed.c.shards,
            committed.c.images,
            committed.c.token_bytes,
            committed.c.collection_id,
            committed.c.compressor_id,
            source.c.bytes.label("source_bytes"),
        )
        .select_from(committed)
        .join(collections, collections.c.id == committed.c.collection_id)
        .join(compressors, compressors.c.id == committed.c.compressor_id)
        .join(
            source,
            sa.and_(
                source.c.collection_id == committed.c.collection_id,
                source.c.compressor_id == committed.c.compressor_id,
            ),
        )
        .order_by(collections.c.name, compressors.c.id)
    )
    codecs = _codecs(connection)
    return [
        {
            **{name: row._mapping[name] for name in ("collection", "compressor", "fingerprint")},
            **{name: int(row._mapping[name]) for name in ("shards", "images", "token_bytes", "source_bytes")},
            "codecs": codecs[row.collection_id, row.compressor_id],
        }
        for row in rows
    ]


def _codecs(connection: sa.Connection) -> dict[tuple[int, int], list[str]]:
    """The codecs of each collection's and compressor's shards, the one last used first."""
    place = (shards.c.collection_id, shards.c.compressor_id)
    rows = connection.execute(
        sa.select(*place, shards.c.codec)
        .group_by(*place, shards.c.codec)
        .order_by(sa.func.max(shards.c.id).desc())
    )
    found: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        found.setdefault((row.collection_id, row.compressor_id), []).append(row.codec)
    return found


def _open_failures(connection: sa.Connection) -> list[dict[str, Any]]:
    """Images that are not compressed, by the reason of their last try."""
    image = (failures.c.object_version_id, failures.c.compressor_id)
    last_tries = sa.select(sa.func.max(failures.c.id)).group_by(*image)
    rows = connection.execute(
        sa.select(collections.c.name.label("collection"), failures.c.reason, sa.func.count().label("images"))
        .join(object_versions, object_versions.c.id == failures.c.object_version_id)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .join(
            work,
            sa.and_(
                work.c.object_version_id == failures.c.object_version_id,
                work.c.compressor_id == failures.c.compressor_id,
                work.c.state == "failed",
            ),
        )
        .where(
            failures.c.id.in_(last_tries),
            failures.c.resolved_at.is_(None),
            object_versions.c.superseded_at.is_(None),
        )
        .group_by(collections.c.name, failures.c.reason)
        .order_by(collections.c.name, failures.c.reason)
    )
    return [dict(row._mapping) for row in rows]


def life(installation: Installation, image: str, collection: str | None = None) -> list[dict[str, Any]]:
    """Everything known of one image: each version, its content, claims, summary tokens, failures, audit facts.

    ``image`` is a key or a content sha256 (at least 12 hex digits). Raises ``NotInArchive``.
    """
    with installation.ledger.read() as connection:
        versions = find(connection, image, collection)
        return [_version_life(connection, installation, row) for row in versions]


def _version_life(connection: sa.Connection, installation: Installation, row: sa.Row[Any]) -> dict[str, Any]:
    mine = object_versions.c.id == row.id
    made = connection.execute(
        sa.select(
            shards.c.path,
            shards.c.run_id,
            shards.c.committed_at,
            shards.c.night,
            summaries.c.row,
            summaries.c.token_bytes,
            shards.c.codec,
            summaries.c.fidelity,
            summaries.c.worst_probe,
            probe_sets.c.questions,
            compressors.c.name,
            compressors.c.fingerprint,
        )
        .select_from(object_versions)
        .join(summaries, summaries.c.object_version_id == object_versions.c.id)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .outerjoin(probe_sets, probe_sets.c.id == summaries.c.probe_set_id)
        .where(mine)
        .order_by(shards.c.committed_at)
    ).all()
    failed = connection.execute(
        sa.select(failures).where(failures.c.object_version_id == row.id).order_by(failures.c.id)
    ).all()
    claims = connection.execute(
        sa.select(work.c.state, work.c.batch_id, batches.c.run_id, compressors.c.fingerprint)
        .join(batches, batches.c.id == work.c.batch_id)
        .join(compressors, compressors.c.id == work.c.compressor_id)
        .where(work.c.object_version_id == row.id)
    ).all()
    return {
        "collection": row.collection,
        "key": row.key,
        "identity": row.identity,
        "bytes": row.size,
        "modified": row.modified.isoformat(),
        "first_seen_at": row.first_seen_at.isoformat(),
        "superseded_at": row.superseded_at.isoformat() if row.superseded_at else None,
        "sha256": row.content_sha256,
        "width": row.width,
        "height": row.height,
        "format": row.format,
        "claims": [dict(claim._mapping) for claim in claims],
        "summaries": [_plain(_judged(dict(item._mapping))) for item in made],
        "failures": [
            _plain({k: item._mapping[k] for k in ("run_id", "reason", "detail", "failed_at", "resolved_at")})
            for item in failed
        ],
        "audit": _audit_facts(
            connection, installation, row, {claim.batch_id for claim in claims} | {f.batch_id for f in failed}
        ),
    }


def _judged(summary: dict[str, Any]) -> dict[str, Any]:
    """Fidelity, how many probes it was to be judged by, and the worst of them in words; None where it is not known."""
    questions, worst = summary.pop("questions"), summary["worst_probe"]
    asked = json.loads(questions) if questions else None
    return summary | {
        "worst_probe": asked[worst] if asked and worst is not None else None,
        "probes": len(asked) if asked else None,
    }


def _audit_facts(
    connection: sa.Connection, installation: Installation, row: sa.Row[Any], batch_ids: set[str]
) -> list[dict[str, Any]]:
    """The lines that audit segments hold about this version, found by its commitment."""
    from fwd2bot_core.audit.canonical import commitment

    mine = commitment(row.salt, "identity", row.identity)
    segments = connection.execute(
        sa.select(audit_segments)
        .where(audit_segments.c.batch_id.in_(batch_ids))
        .order_by(audit_segments.c.seq)
    ).all()
    return [
        {"event": segment.seq, "segment": segment.path, **line}
        for segment in segments
        for line in read_segment(installation.archive.read(segment.path))
        if line["identity"] == mine
    ]


def _plain(mapping: Any) -> dict[str, Any]:
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in dict(mapping).items()
    }

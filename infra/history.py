"""What happened so far, night by night: runs, bytes, rejects, the audit log's head; from one snapshot.

Knows queries over the ledger's tables and gives plain values. Knows nothing about how they are shown, and
never touches a store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.work import STAGES
from infra.database import Ledger
from infra.tables import (
    BatchState,
    RunState,
    audit_events,
    audit_head,
    audit_segments,
    batches,
    collections,
    compressors,
    failures,
    object_versions,
    runs,
    shards,
)


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run as it stands in the ledger. ``summary`` is empty unless the run ended by itself."""

    id: str
    kind: str
    collection: str
    night: date
    state: str
    started_at: datetime
    ended_at: datetime | None
    software: str
    host: str
    compressor: str
    fingerprint: str
    message: str | None
    summary: dict[str, Any]
    workers: int  # processes that committed batches for it; more than ran at once if some were replaced

    @property
    def seconds(self) -> float | None:
        """From its beginning to its end; None while it runs."""
        ended = self.ended_at - self.started_at if self.ended_at else None
        return self.summary.get("wall_seconds", ended.total_seconds() if ended else None)

    @property
    def stage_seconds(self) -> dict[str, float]:
        """By stage, summed over threads and workers; stages overlap."""
        known = self.summary.get("stage_seconds", {})
        return {stage: float(known.get(stage, 0.0)) for stage in STAGES}

    @property
    def worker_seconds(self) -> float:
        """What the workers had: their number times the wall time between their start and the last commit."""
        return self.workers * float(self.summary.get("compress_seconds", 0.0))

    @property
    def shares(self) -> dict[str, float]:
        """Percent of ``worker_seconds``: what the model's thread did, waiting for images included, and the rest."""
        mine = {stage: self.stage_seconds[stage] for stage in ("forward", "fidelity", "wait")}
        whole = max(self.worker_seconds, sum(mine.values()), 1e-9)
        parts = {stage: 100 * seconds / whole for stage, seconds in mine.items()}
        return parts | {"rest": max(0.0, 100 - sum(parts.values()))}


@dataclass(frozen=True, slots=True)
class Night:
    """All runs of one date, in the night's zone, together. Sizes in bytes; ``failed`` counts failure rows."""

    night: date
    runs: int
    compressed: int
    failed: int
    bytes_in: int
    bytes_out: int

    @property
    def ratio(self) -> float | None:
        """Bytes of originals for each byte stored; None when nothing was compressed."""
        return self.bytes_in / self.bytes_out if self.compressed and self.bytes_out else None


@dataclass(frozen=True, slots=True)
class Rejects:
    """Images that failed for one reason in the nights shown; ``resolved`` were compressed by a later run."""

    reason: str
    images: int
    resolved: int


@dataclass(frozen=True, slots=True)
class FailedImage:
    """One image that one run could not compress."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the audit log of the whole installation. Without events ``last_seq`` is None."""

    size: int  # events
    segments: int  # objects that hold the facts of single images
    last_seq: int | None = None
    last_type: str | None = None
    last_at: datetime | None = None
    last_leaf: str | None = None  # RFC 6962 leaf hash, 64 hex digits


@dataclass(frozen=True, slots=True)
class History:
    """Newest runs first, oldest nights first."""

    recent: list[PastRun]
    latest: list[PastRun]  # of each collection, the run begun last; newest first
    last: PastRun | None  # the run that ended last, or the only ones running
    failed_total: int  # of ``last``
    failed: list[FailedImage]  # of ``last``, by key, at most ``named``
    nights: list[Night]
    rejects: list[Rejects]
    audit: AuditHead


def read_history(ledger: Ledger, collection: str | None = None, *, limit: int, named: int) -> History:
    """The last ``limit`` runs and ``limit`` nights, of one collection or of all."""
    with ledger.read() as connection:
        recent = _runs(connection, collection, limit)
        latest = _latest(connection, collection)
        last = _last_ended(connection, collection) or (latest[0] if latest else None)
        since = _first_night(connection, collection, limit)
        return History(
            recent=recent,
            latest=latest,
            last=last,
            failed_total=_failed_total(connection, last.id) if last else 0,
            failed=_failed(connection, last.id, named) if last else [],
            nights=_nights(connection, collection, since) if since else [],
            rejects=_rejects(connection, collection, since) if since else [],
            audit=_audit(connection),
        )


def read_run(ledger: Ledger, run_id: str, *, named: int) -> tuple[PastRun, int, list[FailedImage]] | None:
    """One run, how many images it failed, and at most ``named`` of them by key; None for an unknown run."""
    with ledger.read() as connection:
        row = connection.execute(_select_runs(None).where(runs.c.id == run_id)).one_or_none()
        if row is None:
            return None
        return _past(row), _failed_total(connection, run_id), _failed(connection, run_id, named)


def is_registered(ledger: Ledger, collection: str) -> bool:
    """Whether any run ever worked on it, be it in the settings or not."""
    with ledger.read() as connection:
        found = connection.execute(sa.select(collections.c.id).where(collections.c.name == collection))
        return found.one_or_none() is not None


def _in(collection: str | None) -> sa.ColumnElement[bool]:
    """Rows of ``runs`` joined with ``collections`` that are asked for."""
    return sa.true() if collection is None else collections.c.name == collection


def _select_runs(collection: str | None) -> sa.Select[Any]:
    workers = (
        sa.select(sa.func.count(batches.c.worker.distinct()))
        .where(batches.c.run_id == runs.c.id, batches.c.state == BatchState.COMMITTED)
        .scalar_subquery()
    )
    return (
        sa.select(
            runs,
            collections.c.name.label("collection"),
            compressors.c.name.label("compressor"),
            compressors.c.fingerprint,
            workers.label("workers"),
        )
        .join(collections, collections.c.id == runs.c.collection_id)
        .join(compressors, compressors.c.id == runs.c.compressor_id)
        .where(_in(collection))
        .order_by(runs.c.started_at.desc(), runs.c.id.desc())
    )


def _past(row: sa.Row[Any]) -> PastRun:
    plain = {name: row._mapping[name] for name in PastRun.__slots__ if name != "summary"}
    return PastRun(**plain, summary=json.loads(row.summary) if row.summary else {})


def _runs(connection: sa.Connection, collection: str | None, limit: int) -> list[PastRun]:
    return [_past(row) for row in connection.execute(_select_runs(collection).limit(limit))]


def _latest(connection: sa.Connection, collection: str | None) -> list[PastRun]:
    place = sa.func.row_number().over(
        partition_by=runs.c.collection_id, order_by=[runs.c.started_at.desc(), runs.c.id.desc()]
    )
    ranked = sa.select(runs.c.id, place.label("place")).subquery()
    newest = sa.select(ranked.c.id).where(ranked.c.place == 1)
    return [_past(row) for row in connection.execute(_select_runs(collection).where(runs.c.id.in_(newest)))]


def _last_ended(connection: sa.Connection, collection: str | None) -> PastRun | None:
    # An abandoned run was ended by its successor and says nothing that the successor does not say.
    ended = runs.c.state.not_in([RunState.RUNNING, RunState.ABANDONED])
    row = connection.execute(_select_runs(collection).where(ended).limit(1)).one_or_none()
    return _past(row) if row is not None else None


def _first_night(connection: sa.Connection, collection: str | None, limit: int) -> date | None:
    newest = (
        sa.select(runs.c.night)
        .join(collections, collections.c.id == runs.c.collection_id)
        .where(_in(collection))
        .group_by(runs.c.night)
        .order_by(runs.c.night.desc())
        .limit(limit)
        .subquery()
    )
    first: date | None = connection.execute(sa.select(sa.func.min(newest.c.night))).scalar_one()
    return first


def _nights(connection: sa.Connection, collection: str | None, since: date) -> list[Night]:
    begun = dict(_by_night(connection, collection, since, sa.func.count(), None))
    rows = dict(_by_night(connection, collection, since, sa.func.sum(shards.c.rows), shards))
    failed = dict(_by_night(connection, collection, since, sa.func.count(), failures))
    sizes_in = dict(_by_night(connection, collection, since, sa.func.sum(batches.c.bytes_in), batches))
    sizes_out = dict(_by_night(connection, collection, since, sa.func.sum(batches.c.bytes_out), batches))
    return [
        Night(
            night=night,
            runs=begun[night],
            compressed=rows.get(night, 0),
            failed=failed.get(night, 0),
            bytes_in=sizes_in.get(night, 0),
            bytes_out=sizes_out.get(night, 0),
        )
        for night in sorted(begun)
    ]


def _by_night(
    connection: sa.Connection,
    collection: str | None,
    since: date,
    figure: sa.ColumnElement[Any],
    table: sa.Table | None,
) -> Sequence[tuple[date, int]]:
    """(night, figure) over the rows of ``table`` that the runs of each night wrote, or over the runs."""
    query = sa.select(runs.c.night, figure).join(collections, collections.c.id == runs.c.collection_id)
    if table is not None:
        query = query.join(table, table.c.run_id == runs.c.id)
    found = connection.execute(query.where(_in(collection), runs.c.night >= since).group_by(runs.c.night))
    return [(night, int(value or 0)) for night, value in found]


def _rejects(connection: sa.Connection, collection: str | None, since: date) -> list[Rejects]:
    image = failures.c.object_version_id
    resolved = sa.case((failures.c.resolved_at.is_not(None), image))
    rows = connection.execute(
        sa.select(failures.c.reason, sa.func.count(image.distinct()), sa.func.count(resolved.distinct()))
        .select_from(runs)
        .join(failures, failures.c.run_id == runs.c.id)
        .join(collections, collections.c.id == runs.c.collection_id)
        .where(_in(collection), runs.c.night >= since)
        .group_by(failures.c.reason)
        .order_by(sa.func.count(image.distinct()).desc(), failures.c.reason)
    )
    return [Rejects(reason, int(images), int(done)) for reason, images, done in rows]


def _failed_total(connection: sa.Connection, run_id: str) -> int:
    count = sa.select(sa.func.count()).select_from(failures).where(failures.c.run_id == run_id)
    return int(connection.execute(count).scalar_one())


def _failed(connection: sa.Connection, run_id: str, limit: int) -> list[FailedImage]:
    rows = connection.execute(
        sa.select(object_versions.c.key, failures.c.reason, failures.c.detail)
        .join(object_versions, object_versions.c.id == failures.c.object_version_id)
        .where(failures.c.run_id == run_id)
        .order_by(object_versions.c.key, failures.c.id)
        .limit(limit)
    )
    return [FailedImage(*row) for row in rows]


def _audit(connection: sa.Connection) -> AuditHead:
    size = int(connection.execute(sa.select(audit_head.c.size)).scalar_one())
    segments = int(connection.execute(sa.select(sa.func.count()).select_from(audit_segments)).scalar_one())
    last = connection.execute(
        sa.select(audit_events).order_by(audit_events.c.seq.desc()).limit(1)
    ).one_or_none()
    if last is None:
        return AuditHead(size, segments)
    return AuditHead(size, segments, last.seq, last.type, last.occurred_at, last.leaf.hex())

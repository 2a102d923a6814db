"""How the installation is, in numbers: each collection's last night, what waits, how much of the log others keep.

From the ledger alone, in one snapshot; nothing outside is asked. Knows nothing about how it is shown or who is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.retention.disposition import ListState
from infra import audit_log
from infra.installation import Installation
from infra.retention_tables import disposition_lists
from infra.tables import (
    FAILED,
    RunState,
    audit_anchors,
    audit_checkpoints,
    audit_head,
    collections,
    object_versions,
    runs,
    shards,
    work,
)

GOOD = (RunState.COMPLETED, RunState.PARTLY_FAILED)  # the night itself came to its end


@dataclass(slots=True, kw_only=True)
class Health:
    """One collection. Times are aware; None: never."""

    collection: str
    last_state: str | None = None  # of the run that ended last by itself
    last_run: str | None = None
    last_message: str | None = None
    last_ended_at: datetime | None = None
    last_good_at: datetime | None = None  # the newest end of a run that came to its end
    running: int = 0
    images: int = 0  # with committed tokens
    stored_bytes: int = 0
    failed: int = 0  # images whose last try failed
    waiting_lists: int = 0  # that wait for approvals


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Everything. ``anchors``: by name, events that it vouches for, and since when."""

    at: datetime
    health: list[Health]
    events: int
    signed: int
    signed_at: datetime | None
    anchors: dict[str, tuple[int, datetime]] = field(default_factory=dict)


def vitals(house: Installation) -> Vitals:
    """Of every collection that a night has ever looked at."""
    with house.ledger.read() as connection:
        found = {
            int(row.id): Health(collection=row.name)
            for row in connection.execute(sa.select(collections).order_by(collections.c.name))
        }
        _last_runs(connection, found)
        _counts(connection, found)
        signed = connection.execute(
            sa.select(sa.func.max(audit_checkpoints.c.size), sa.func.max(audit_checkpoints.c.signed_at))
        ).one()
        return Vitals(
            at=audit_log.now(),
            health=list(found.values()),
            events=int(connection.execute(sa.select(audit_head.c.size)).scalar_one()),
            signed=int(signed[0] or 0),
            signed_at=signed[1],
            anchors=_anchors(connection),
        )


def _last_runs(connection: sa.Connection, found: dict[int, Health]) -> None:
    ended = runs.c.state.not_in([RunState.RUNNING, RunState.ABANDONED])
    place = sa.func.row_number().over(
        partition_by=runs.c.collection_id, order_by=[runs.c.ended_at.desc(), runs.c.id.desc()]
    )
    ranked = sa.select(runs, place.label("place")).where(ended).subquery()
    for row in connection.execute(sa.select(ranked).where(ranked.c.place == 1)):
        one = found[row.collection_id]
        one.last_state, one.last_run = row.state, row.id
        one.last_message, one.last_ended_at = row.message, row.ended_at
    good = sa.select(runs.c.collection_id, sa.func.max(runs.c.ended_at)).where(runs.c.state.in_(GOOD))
    for number, at in connection.execute(good.group_by(runs.c.collection_id)):
        found[number].last_good_at = at


def _counts(connection: sa.Connection, found: dict[int, Health]) -> None:
    at_work = sa.select(runs.c.collection_id, sa.func.count()).where(runs.c.state == RunState.RUNNING)
    stored = sa.select(shards.c.collection_id, sa.func.sum(shards.c.rows), sa.func.sum(shards.c.bytes))
    failed = (
        sa.select(object_versions.c.collection_id, sa.func.count(work.c.object_version_id.distinct()))
        .join(work, work.c.object_version_id == object_versions.c.id)
        .where(FAILED, object_versions.c.superseded_at.is_(None))
    )
    open_lists = sa.select(disposition_lists.c.collection_id, sa.func.count()).where(
        disposition_lists.c.state == ListState.OPEN, disposition_lists.c.expires_at > audit_log.now()
    )
    for number, count in _by_collection(connection, at_work, runs):
        found[number].running = int(count)
    for number, images, size in _by_collection(connection, stored, shards):
        found[number].images, found[number].stored_bytes = int(images), int(size)
    for number, count in _by_collection(connection, failed, object_versions):
        found[number].failed = int(count)
    for number, count in _by_collection(connection, open_lists, disposition_lists):
        found[number].waiting_lists = int(count)


def _by_collection(
    connection: sa.Connection, query: sa.Select[Any], table: sa.Table
) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(query.group_by(table.c.collection_id))]


def _anchors(connection: sa.Connection) -> dict[str, tuple[int, datetime]]:
    newest = sa.select(
        audit_anchors.c.anchor, sa.func.max(audit_anchors.c.size), sa.func.max(audit_anchors.c.anchored_at)
    ).group_by(audit_anchors.c.anchor)
    return {name: (int(size), at) for name, size, at in connection.execute(newest)}

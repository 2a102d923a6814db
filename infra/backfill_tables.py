"""The ledger's tables about backfills.

    backfills 1--* backfill_slices                           what was asked for, and how far it is planned
    backfills 1--* backfill_items *--1 object_versions       which photos it is about, whoever compresses them
    backfills 1--* backfill_runs 1--1 runs                   who worked on it

Claims, batches and what came of them stand where those of nights stand. Knows nothing about queries.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from infra.table_types import UtcDateTime, metadata, ref


class BackfillState(StrEnum):
    ACTIVE = "active"  # whoever runs it may work on it
    PAUSED = "paused"
    CANCELLED = "cancelled"  # what it had claimed and not begun is given back
    DONE = "done"


backfills = sa.Table(
    "backfills",
    metadata,
    sa.Column("id", sa.String(60), primary_key=True),
    ref("collections.id", index=True),
    ref("compressors.id"),
    sa.Column("scope", sa.Text, nullable=False),  # JSON of ``backfill_scope.Scope``
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("max_images", sa.BigInteger),  # null: as many as there are
    sa.Column("max_bytes", sa.BigInteger),  # of originals read
    sa.Column("max_seconds", sa.Float),  # at work
    sa.Column("max_money", sa.Float),
    sa.Column("hour_price", sa.Float),  # of an hour at work, in the same money
    sa.Column("hours", sa.String(11)),  # of the day, such as 22:00-06:00; null: at any time
    sa.Column("zone", sa.String(64), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("planned_at", UtcDateTime),  # when its last slice was written; null: there may be more
    sa.Column("ended_at", UtcDateTime),
    sa.Column("note", sa.Text),  # why it stands still, or what became of it
)

backfill_slices = sa.Table(
    "backfill_slices",
    metadata,
    sa.Column("backfill_id", sa.ForeignKey("backfills.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # from 0, as they were planned
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("claimed", sa.Integer, nullable=False),  # by this backfill; others were somebody's already
    sa.Column("planned_at", UtcDateTime, nullable=False),
)

backfill_items = sa.Table(
    "backfill_items",
    metadata,
    sa.Column("backfill_id", sa.ForeignKey("backfills.id"), primary_key=True),
    sa.Column(
        "object_version_id", sa.ForeignKey("object_versions.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("slice", sa.Integer, nullable=False),
)

backfill_runs = sa.Table(
    "backfill_runs",
    metadata,
    sa.Column("run_id", sa.ForeignKey("runs.id"), primary_key=True),
    ref("backfills.id", index=True),
)

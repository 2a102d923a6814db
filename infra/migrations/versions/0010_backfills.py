"""Backfills, their slices, what each is about, and who worked on it."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = infra.tables.UtcDateTime(timezone=True)


def upgrade() -> None:
    _backfills()
    _parts()
    op.create_index(op.f("ix_contents_size"), "contents", ["size"])  # what a photo may be a copy of


def _backfills() -> None:
    op.create_table(
        "backfills",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("collection_id", _NUMBER, nullable=False),
        sa.Column("compressor_id", _NUMBER, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("max_images", sa.BigInteger(), nullable=True),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_seconds", sa.Float(), nullable=True),
        sa.Column("max_money", sa.Float(), nullable=True),
        sa.Column("hour_price", sa.Float(), nullable=True),
        sa.Column("hours", sa.String(length=11), nullable=True),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("planned_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_backfills_collection_id")
        ),
        sa.ForeignKeyConstraint(
            ["compressor_id"], ["compressors.id"], name=op.f("fk_backfills_compressor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfills")),
    )
    op.create_index(op.f("ix_backfills_collection_id"), "backfills", ["collection_id"])


def _parts() -> None:
    backfill = sa.ForeignKeyConstraint
    op.create_table(
        "backfill_slices",
        sa.Column("backfill_id", sa.String(length=60), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("planned_at", _TIME, nullable=False),
        backfill(["backfill_id"], ["backfills.id"], name=op.f("fk_backfill_slices_backfill_id")),
        sa.PrimaryKeyConstraint("backfill_id", "number", name=op.f("pk_backfill_slices")),
    )
    op.create_table(
        "backfill_items",
        sa.Column("backfill_id", sa.String(length=60), nullable=False),
        sa.Column("object_version_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("slice", sa.Integer(), nullable=False),
        backfill(["backfill_id"], ["backfills.id"], name=op.f("fk_backfill_items_backfill_id")),
        backfill(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_backfill_items_object_version_id")
        ),
        sa.PrimaryKeyConstraint("backfill_id", "object_version_id", name=op.f("pk_backfill_items")),
    )
    op.create_table(
        "backfill_runs",
        sa.Column("run_id", sa.String(length=60), nullable=False),
        sa.Column("backfill_id", sa.String(length=60), nullable=False),
        backfill(["run_id"], ["runs.id"], name=op.f("fk_backfill_runs_run_id")),
        backfill(["backfill_id"], ["backfills.id"], name=op.f("fk_backfill_runs_backfill_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_backfill_runs")),
    )
    op.create_index(op.f("ix_backfill_runs_backfill_id"), "backfill_runs", ["backfill_id"])

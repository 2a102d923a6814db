"""Indexes for what a night looks for in a ledger of many millions: each of its questions finds few rows."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create("ix_batches_planned", "batches", ["collection_id"], "state = 'planned'")
    _create("ix_work_failed", "work", ["compressor_id", "object_version_id"], "state = 'failed'")
    op.create_index("ix_batches_next", "batches", ["run_id", "state", "planned_at", "id"])
    op.drop_index(op.f("ix_batches_run_id_batches_state"), "batches")  # the same, and less
    op.create_index(op.f("ix_shards_run_id"), "shards", ["run_id"])
    op.create_index(op.f("ix_audit_segments_path"), "audit_segments", ["path"])


def _create(name: str, table: str, columns: list[str], only: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(only), postgresql_where=sa.text(only))

"""The first ledger: every table of the first release, and an empty audit log."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("occurred_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String(length=60), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_events_event_id")),
    )
    op.create_index(op.f("ix_audit_events_run_id"), "audit_events", ["run_id"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_values",
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=30), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_audit_values")),
        sa.UniqueConstraint("kind", "value", name=op.f("uq_audit_values_kind_value")),
    )
    op.create_table(
        "collections",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("originals", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("registered_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collections")),
        sa.UniqueConstraint("name", name=op.f("uq_collections_name")),
    )
    op.create_table(
        "compressors",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("d", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.String(length=20), nullable=False),
        sa.Column("token_bytes", sa.Integer(), nullable=False),
        sa.Column("registered_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_compressors")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_compressors_fingerprint")),
    )
    op.create_table(
        "contents",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("format", sa.String(length=20), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_contents")),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "leases",
        sa.Column("slot", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=60), nullable=True),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(length=200), nullable=False),
        sa.Column("renewed_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_leases")),
    )
    op.create_table(
        "object_versions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=True),
        sa.Column("first_seen_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("superseded_at", infra.tables.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_object_versions_collection_id")
        ),
        sa.ForeignKeyConstraint(
            ["content_sha256"], ["contents.sha256"], name=op.f("fk_object_versions_content_sha256")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_object_versions")),
        sa.UniqueConstraint(
            "collection_id", "key", "identity", name=op.f("uq_object_versions_collection_id_key_identity")
        ),
    )
    op.create_index(
        op.f("ix_object_versions_collection_id_object_versions_id"),
        "object_versions",
        ["collection_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_object_versions_content_sha256"), "object_versions", ["content_sha256"], unique=False
    )
    op.create_index(op.f("ix_object_versions_key"), "object_versions", ["key"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("compressor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("fencing", sa.BigInteger(), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("started_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", infra.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("software", sa.String(length=60), nullable=False),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], name=op.f("fk_runs_collection_id")),
        sa.ForeignKeyConstraint(["compressor_id"], ["compressors.id"], name=op.f("fk_runs_compressor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(
        op.f("ix_runs_collection_id_runs_started_at"), "runs", ["collection_id", "started_at"], unique=False
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("compressor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(length=60), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(length=32), nullable=True),
        sa.Column("planned_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("finished_at", infra.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("bytes_in", sa.BigInteger(), nullable=True),
        sa.Column("bytes_out", sa.BigInteger(), nullable=True),
        sa.Column("fetch_seconds", sa.Float(), nullable=True),
        sa.Column("decode_seconds", sa.Float(), nullable=True),
        sa.Column("forward_seconds", sa.Float(), nullable=True),
        sa.Column("encode_seconds", sa.Float(), nullable=True),
        sa.Column("write_seconds", sa.Float(), nullable=True),
        sa.Column("wait_seconds", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], name=op.f("fk_batches_collection_id")),
        sa.ForeignKeyConstraint(["compressor_id"], ["compressors.id"], name=op.f("fk_batches_compressor_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_batches_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(
        op.f("ix_batches_collection_id_batches_compressor_id_batches_state"),
        "batches",
        ["collection_id", "compressor_id", "state"],
        unique=False,
    )
    op.create_index(op.f("ix_batches_run_id_batches_state"), "batches", ["run_id", "state"], unique=False)
    op.create_table(
        "audit_segments",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("subroot", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_audit_segments_batch_id")),
        sa.ForeignKeyConstraint(["seq"], ["audit_events.seq"], name=op.f("fk_audit_segments_seq")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_segments")),
    )
    op.create_index(op.f("ix_audit_segments_batch_id"), "audit_segments", ["batch_id"], unique=False)
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("object_version_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("compressor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(length=60), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("failed_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", infra.tables.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_failures_batch_id")),
        sa.ForeignKeyConstraint(
            ["compressor_id"], ["compressors.id"], name=op.f("fk_failures_compressor_id")
        ),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_failures_object_version_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_failures_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failures")),
    )
    op.create_index(op.f("ix_failures_object_version_id"), "failures", ["object_version_id"], unique=False)
    op.create_index(op.f("ix_failures_run_id"), "failures", ["run_id"], unique=False)
    op.create_table(
        "shards",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("collection_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("compressor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(length=60), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("committed_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_shards_batch_id")),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], name=op.f("fk_shards_collection_id")),
        sa.ForeignKeyConstraint(["compressor_id"], ["compressors.id"], name=op.f("fk_shards_compressor_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_shards_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
        sa.UniqueConstraint("batch_id", name=op.f("uq_shards_batch_id")),
        sa.UniqueConstraint("path", name=op.f("uq_shards_path")),
    )
    op.create_index(
        op.f("ix_shards_collection_id_shards_compressor_id"),
        "shards",
        ["collection_id", "compressor_id"],
        unique=False,
    )
    op.create_table(
        "work",
        sa.Column(
            "object_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "compressor_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=30), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_work_batch_id")),
        sa.ForeignKeyConstraint(["compressor_id"], ["compressors.id"], name=op.f("fk_work_compressor_id")),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_work_object_version_id")
        ),
        sa.PrimaryKeyConstraint("object_version_id", "compressor_id", name=op.f("pk_work")),
    )
    op.create_index(op.f("ix_work_batch_id_work_state"), "work", ["batch_id", "state"], unique=False)
    op.create_index(
        op.f("ix_work_compressor_id_work_state"), "work", ["compressor_id", "state"], unique=False
    )
    op.create_table(
        "summaries",
        sa.Column(
            "object_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "compressor_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("shard_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("source_bytes", sa.BigInteger(), nullable=False),
        sa.Column("token_bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["compressor_id"], ["compressors.id"], name=op.f("fk_summaries_compressor_id")
        ),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_summaries_object_version_id")
        ),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_summaries_shard_id")),
        sa.PrimaryKeyConstraint("object_version_id", "compressor_id", name=op.f("pk_summaries")),
    )
    op.create_index(op.f("ix_summaries_shard_id"), "summaries", ["shard_id"], unique=False)
    op.execute("INSERT INTO audit_head (id, size) VALUES (1, 0)")

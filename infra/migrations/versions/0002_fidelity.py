"""Fidelity of each image's stored tokens, the questions it was judged by, and checks against a person's labels."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "probe_sets",
        sa.Column("id", _ID, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("questions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probe_sets")),
        sa.UniqueConstraint("sha256", name=op.f("uq_probe_sets_sha256")),
    )
    op.add_column("summaries", sa.Column("fidelity", sa.Float(), nullable=True))
    op.add_column("summaries", sa.Column("worst_probe", sa.Integer(), nullable=True))
    _refer_to_probe_sets()
    op.add_column("batches", sa.Column("fidelity_seconds", sa.Float(), nullable=True))
    op.create_table(
        "label_checks",
        sa.Column("id", _ID, nullable=False),
        sa.Column("collection_id", _ID, nullable=False),
        sa.Column("compressor_id", _ID, nullable=False),
        sa.Column("codec", sa.String(length=60), nullable=False),
        sa.Column("labels_sha256", sa.String(length=64), nullable=False),
        sa.Column("questions", sa.Integer(), nullable=False),
        sa.Column("right_answers", sa.Integer(), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("at_least", sa.Float(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("checked_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_label_checks_collection_id")
        ),
        sa.ForeignKeyConstraint(
            ["compressor_id"], ["compressors.id"], name=op.f("fk_label_checks_compressor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_checks")),
    )
    op.create_index(
        op.f("ix_label_checks_collection_id_label_checks_compressor_id"),
        "label_checks",
        ["collection_id", "compressor_id"],
        unique=False,
    )


def _refer_to_probe_sets() -> None:
    """SQLite adds no constraint to a table that is there, but a column that has one, which loses its name."""
    name = op.f("fk_summaries_probe_set_id")
    if op.get_context().dialect.name == "sqlite":
        column = sa.Column("probe_set_id", _ID, sa.ForeignKey("probe_sets.id", name=name), nullable=True)
        op.add_column("summaries", column, inline_references=True)
        return
    op.add_column("summaries", sa.Column("probe_set_id", _ID, nullable=True))
    op.create_foreign_key(name, "summaries", "probe_sets", ["probe_set_id"], ["id"])

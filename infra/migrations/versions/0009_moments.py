"""When photos were taken and who says so, what holds are about, and erasure."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    time = infra.tables.UtcDateTime(timezone=True)
    for name in ("exif_at", "name_at", "told_at"):
        op.add_column("object_facts", sa.Column(name, time, nullable=True))
    op.add_column(
        "object_facts", sa.Column("overrules", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("object_facts", sa.Column("doubts", sa.String(length=100), nullable=True))
    for table in ("object_facts", "object_dates", "object_tags"):
        op.add_column(table, sa.Column("seq", sa.BigInteger(), nullable=True))
    _hold_queries()
    _erasures(time)
    _shard_rewrites()


def _hold_queries() -> None:
    op.create_table(
        "hold_queries",
        sa.Column("hold_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("collection_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("pattern", sa.String(length=1000), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["legal_holds.id"], name=op.f("fk_hold_queries_hold_id")),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_hold_queries_collection_id")
        ),
        sa.PrimaryKeyConstraint("hold_id", "collection_id", "pattern", name=op.f("pk_hold_queries")),
    )


def _erasures(time: infra.tables.UtcDateTime) -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("made_at", time, nullable=False),
        sa.Column("approver_id", _NUMBER, nullable=True),
        sa.Column("statement", sa.LargeBinary(), nullable=True),
        sa.Column("signature", sa.Text(), nullable=True),
        sa.Column("approved_at", time, nullable=True),
        sa.Column("done_seq", sa.BigInteger(), nullable=True),
        sa.Column("done_at", time, nullable=True),
        sa.ForeignKeyConstraint(["approver_id"], ["people.id"], name=op.f("fk_erasures_approver_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_table(
        "erasure_items",
        sa.Column("erasure_id", sa.String(length=60), nullable=False),
        sa.Column("object_version_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("intent_seq", sa.BigInteger(), nullable=True),
        sa.Column("confirmed_seq", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", time, nullable=False),
        sa.ForeignKeyConstraint(["erasure_id"], ["erasures.id"], name=op.f("fk_erasure_items_erasure_id")),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_erasure_items_object_version_id")
        ),
        sa.PrimaryKeyConstraint("erasure_id", "object_version_id", name=op.f("pk_erasure_items")),
    )
    op.create_index(op.f("ix_erasure_items_object_version_id"), "erasure_items", ["object_version_id"])


def _shard_rewrites() -> None:
    table = "shard_rewrites"
    op.create_table(
        table,
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("erasure_id", sa.String(length=60), nullable=False),
        sa.Column("collection_id", _NUMBER, nullable=False),
        sa.Column("compressor_id", _NUMBER, nullable=False),
        sa.Column("shard_id", sa.BigInteger(), nullable=False),
        sa.Column("old_path", sa.Text(), nullable=False),
        sa.Column("new_path", sa.Text(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        *(
            sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"))
            for column, target in (
                ("erasure_id", "erasures.id"),
                ("collection_id", "collections.id"),
                ("compressor_id", "compressors.id"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("old_path", name=op.f(f"uq_{table}_old_path")),
    )
    op.create_index(op.f(f"ix_{table}_erasure_id"), table, ["erasure_id"])
    op.create_index(
        op.f("ix_shard_rewrites_collection_id_shard_rewrites_compressor_id"),
        table,
        ["collection_id", "compressor_id"],
    )

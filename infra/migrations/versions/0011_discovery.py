"""How far each look for new photos came."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "discovery_marks",
        sa.Column("collection_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("mark", sa.String(length=20), nullable=False),
        sa.Column("at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_discovery_marks_collection_id")
        ),
        sa.PrimaryKeyConstraint("collection_id", "mark", name=op.f("pk_discovery_marks")),
    )

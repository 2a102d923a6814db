"""Policies, the facts that they look at, and legal holds."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    time = infra.tables.UtcDateTime(timezone=True)
    op.create_table(
        "policies",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("meaning_sha256", sa.String(length=64), nullable=False),
        sa.Column("yaml", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("drafted_at", time, nullable=False),
        sa.Column("simulated_at", time, nullable=True),
        sa.Column("approved_at", time, nullable=True),
        sa.Column("active_at", time, nullable=True),
        sa.Column("retired_at", time, nullable=True),
        sa.PrimaryKeyConstraint("id", "version", name=op.f("pk_policies")),
    )
    active = sa.text("state = 'active'")
    op.create_index(
        "uq_policies_active", "policies", ["id"], unique=True, sqlite_where=active, postgresql_where=active
    )
    _about_photos(time)
    op.create_table(
        "legal_holds",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("confidential", sa.Boolean(), nullable=False),
        sa.Column("placed_at", time, nullable=False),
        sa.Column("released_at", time, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_holds")),
    )
    op.create_table(
        "hold_members",
        sa.Column("hold_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("object_version_id", _NUMBER, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["hold_id"], ["legal_holds.id"], name=op.f("fk_hold_members_hold_id")),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_hold_members_object_version_id")
        ),
        sa.PrimaryKeyConstraint("hold_id", "object_version_id", name=op.f("pk_hold_members")),
    )
    op.create_index(op.f("ix_hold_members_object_version_id"), "hold_members", ["object_version_id"])


def _about_photos(time: infra.tables.UtcDateTime) -> None:
    _about_photo("object_facts", [sa.Column("captured_at", time, nullable=True)], [])
    name = sa.Column("name", sa.String(length=64), nullable=False)
    _about_photo("object_dates", [name, sa.Column("at", time, nullable=False)], ["name"])
    _about_photo("object_tags", [sa.Column("tag", sa.String(length=64), nullable=False)], ["tag"])


def _about_photo(table: str, columns: Sequence[sa.Column[Any]], key: Sequence[str]) -> None:
    op.create_table(
        table,
        sa.Column("object_version_id", _NUMBER, autoincrement=False, nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f(f"fk_{table}_object_version_id")
        ),
        sa.PrimaryKeyConstraint("object_version_id", *key, name=op.f(f"pk_{table}")),
    )

"""The ledger's tables about keeping and letting go.

    policies                                                 each version of each policy, word for word
    object_facts 1--* object_dates, object_tags              what policies look at beside the ledger's own facts
    legal_holds 1--* hold_members *--1 object_versions       what must stay whatever a policy says

A row of ``object_facts`` or a date that is missing is not known, which keeps the original. Knows nothing about queries.
"""

from __future__ import annotations

import sqlalchemy as sa

from infra.table_types import ID, UtcDateTime, metadata

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sha256", sa.String(64), nullable=False),  # of ``yaml``
    sa.Column(
        "meaning_sha256", sa.String(64), nullable=False
    ),  # another one: this software reads it otherwise
    sa.Column("yaml", sa.LargeBinary, nullable=False),  # the exact bytes of the file
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("author_ref", sa.String(64), nullable=False),  # of ``audit_values``
    sa.Column("drafted_at", UtcDateTime, nullable=False),
    sa.Column("simulated_at", UtcDateTime),
    sa.Column("approved_at", UtcDateTime),
    sa.Column("active_at", UtcDateTime),
    sa.Column("retired_at", UtcDateTime),
    sa.Index(
        "uq_policies_active",  # at most one version of a policy is in force
        "id",
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    ),
)


def _photo() -> sa.Column[int]:
    return sa.Column(
        "object_version_id", sa.ForeignKey("object_versions.id"), primary_key=True, autoincrement=False
    )


object_facts = sa.Table(
    "object_facts",
    metadata,
    _photo(),
    sa.Column("captured_at", UtcDateTime),  # when the photo was taken; null: nobody knows
)

object_dates = sa.Table(
    "object_dates",
    metadata,
    _photo(),
    sa.Column("name", sa.String(64), primary_key=True),  # end-of-production, warranty-end, ...
    sa.Column("at", UtcDateTime, nullable=False),
)

object_tags = sa.Table(
    "object_tags",
    metadata,
    _photo(),
    sa.Column("tag", sa.String(64), primary_key=True),  # reject, disputed, ...
)

legal_holds = sa.Table(
    "legal_holds",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),  # of the case
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("author_ref", sa.String(64), nullable=False),
    sa.Column("confidential", sa.Boolean, nullable=False),
    sa.Column("placed_at", UtcDateTime, nullable=False),
    sa.Column("released_at", UtcDateTime),  # null: in force
)

hold_members = sa.Table(
    "hold_members",
    metadata,
    sa.Column("hold_id", sa.ForeignKey("legal_holds.id"), primary_key=True, autoincrement=False),
    sa.Column(
        "object_version_id",
        sa.ForeignKey("object_versions.id"),
        primary_key=True,
        autoincrement=False,
        index=True,  # a decision asks for one version's holds
    ),
)

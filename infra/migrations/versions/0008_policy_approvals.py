"""What people signed about a version of a policy."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = infra.tables.UtcDateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "policy_approvals",
        sa.Column("policy_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("person_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("signed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id", "version"],
            ["policies.id", "policies.version"],
            name=op.f("fk_policy_approvals_policy_id_version"),
        ),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_policy_approvals_person_id")),
        sa.PrimaryKeyConstraint("policy_id", "version", "person_id", name=op.f("pk_policy_approvals")),
    )

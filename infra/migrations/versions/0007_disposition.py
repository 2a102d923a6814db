"""People with their keys and roles; disposition lists, what became of each item, approvals, certificates."""

import sqlalchemy as sa
from alembic import op

import infra.tables

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = infra.tables.UtcDateTime(timezone=True)


def upgrade() -> None:
    op.add_column("object_versions", sa.Column("destroyed_seq", sa.BigInteger(), nullable=True))
    _people()
    _lists()
    _endings()


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("name_ref", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("registered_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.UniqueConstraint("key", name=op.f("uq_people_key")),
        sa.UniqueConstraint("name_ref", name=op.f("uq_people_name_ref")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )
    op.create_table(
        "person_roles",
        sa.Column("person_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_person_roles_person_id")),
        sa.PrimaryKeyConstraint("person_id", "role", name=op.f("pk_person_roles")),
    )


def _lists() -> None:
    op.create_table(
        "disposition_lists",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("collection_id", _NUMBER, nullable=False),
        sa.Column("policy_id", sa.String(length=64), nullable=False),
        sa.Column("policy_version", sa.BigInteger(), nullable=False),
        sa.Column("policy_sha256", sa.String(length=64), nullable=False),
        sa.Column("as_of", _TIME, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("approvals", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("grace_until", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["policy_id", "policy_version"],
            ["policies.id", "policies.version"],
            name=op.f("fk_disposition_lists_policy_id_policy_version"),
        ),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_disposition_lists_collection_id")
        ),
        sa.UniqueConstraint("path", name=op.f("uq_disposition_lists_path")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disposition_lists")),
    )
    op.create_index(op.f("ix_disposition_lists_collection_id"), "disposition_lists", ["collection_id"])
    op.create_table(
        "disposition_items",
        sa.Column("list_id", sa.String(length=60), nullable=False),
        sa.Column("object_version_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("intent_seq", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_disposition_items_object_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["list_id"], ["disposition_lists.id"], name=op.f("fk_disposition_items_list_id")
        ),
        sa.PrimaryKeyConstraint("list_id", "object_version_id", name=op.f("pk_disposition_items")),
    )
    op.create_index(
        op.f("ix_disposition_items_list_id_disposition_items_state"),
        "disposition_items",
        ["list_id", "state"],
    )
    op.create_index(
        op.f("ix_disposition_items_object_version_id"), "disposition_items", ["object_version_id"]
    )


def _endings() -> None:
    op.create_table(
        "approvals",
        sa.Column("list_id", sa.String(length=60), nullable=False),
        sa.Column("person_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("signed_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["list_id"], ["disposition_lists.id"], name=op.f("fk_approvals_list_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_approvals_person_id")),
        sa.PrimaryKeyConstraint("list_id", "person_id", name=op.f("pk_approvals")),
    )
    op.create_table(
        "certificates",
        sa.Column("object_version_id", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("list_id", sa.String(length=60), nullable=False),
        sa.Column("intent_seq", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_seq", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", _TIME, nullable=False),
        sa.Column("purge_not_before", _TIME, nullable=True),
        sa.Column("others", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["confirmed_seq"], ["audit_events.seq"], name=op.f("fk_certificates_confirmed_seq")
        ),
        sa.ForeignKeyConstraint(
            ["intent_seq"], ["audit_events.seq"], name=op.f("fk_certificates_intent_seq")
        ),
        sa.ForeignKeyConstraint(["list_id"], ["disposition_lists.id"], name=op.f("fk_certificates_list_id")),
        sa.ForeignKeyConstraint(
            ["object_version_id"], ["object_versions.id"], name=op.f("fk_certificates_object_version_id")
        ),
        sa.PrimaryKeyConstraint("object_version_id", name=op.f("pk_certificates")),
    )
    op.create_index(op.f("ix_certificates_list_id"), "certificates", ["list_id"])

"""The ledger's tables about keeping and letting go.

    policies                                                 each version of each policy, word for word
    object_facts 1--* object_dates, object_tags              what policies look at beside the ledger's own facts
    legal_holds 1--* hold_members *--1 object_versions       what must stay whatever a policy says
    legal_holds 1--* hold_queries                            what it is about, so that later photos are members too
    people 1--* person_roles                                 who may do what, by registered keys
    policies 1--* policy_approvals                           what people signed about a version
    disposition_lists 1--* disposition_items                 what may go, fixed when listed, and what became of it
    disposition_lists 1--* approvals                         what people signed about it
    certificates *--1 object_versions                        what is gone, and how that was confirmed

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
    # what each source says of that, and who is not believed and why, as ``capture.Claims`` has it
    sa.Column("exif_at", UtcDateTime),
    sa.Column("name_at", UtcDateTime),
    sa.Column("told_at", UtcDateTime),
    sa.Column("overrules", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("doubts", sa.String(100)),
    sa.Column("seq", sa.BigInteger),  # the newest event that recorded one; null: none but its segment's
)

object_dates = sa.Table(
    "object_dates",
    metadata,
    _photo(),
    sa.Column("name", sa.String(64), primary_key=True),  # end-of-production, warranty-end, ...
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("seq", sa.BigInteger),  # the event that recorded it
)

object_tags = sa.Table(
    "object_tags",
    metadata,
    _photo(),
    sa.Column("tag", sa.String(64), primary_key=True),  # reject, disputed, ...
    sa.Column("seq", sa.BigInteger),  # the event that recorded it
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

hold_queries = sa.Table(
    "hold_queries",
    metadata,
    sa.Column("hold_id", sa.ForeignKey("legal_holds.id"), primary_key=True, autoincrement=False),
    sa.Column("collection_id", sa.ForeignKey("collections.id"), primary_key=True, autoincrement=False),
    sa.Column("pattern", sa.String(1000), primary_key=True),  # of whole keys
    sa.Column("seen", sa.BigInteger, nullable=False),  # the last object version that was held against it
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("name_ref", sa.String(64), nullable=False, unique=True),  # of ``audit_values``
    sa.Column("kind", sa.String(10), nullable=False),  # "ssh": a public key; "oidc": issuer and subject
    sa.Column("key", sa.Text, nullable=False, unique=True),  # so that one key is never two people
    sa.Column("registered_at", UtcDateTime, nullable=False),
    sa.Column("revoked_at", UtcDateTime),
)

person_roles = sa.Table(
    "person_roles",
    metadata,
    sa.Column("person_id", sa.ForeignKey("people.id"), primary_key=True, autoincrement=False),
    sa.Column("role", sa.String(20), primary_key=True),  # ``roles.Role``
)

policy_approvals = sa.Table(
    "policy_approvals",
    metadata,
    sa.Column("policy_id", sa.String(64), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("person_id", sa.ForeignKey("people.id"), primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),  # the exact bytes that were signed
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("signed_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["policy_id", "version"], ["policies.id", "policies.version"]),
)

disposition_lists = sa.Table(
    "disposition_lists",
    metadata,
    sa.Column("id", sa.String(60), primary_key=True),
    sa.Column("collection_id", sa.ForeignKey("collections.id"), nullable=False, index=True),
    sa.Column("policy_id", sa.String(64), nullable=False),
    sa.Column("policy_version", sa.BigInteger, nullable=False),
    sa.Column("policy_sha256", sa.String(64), nullable=False),
    sa.Column("as_of", UtcDateTime, nullable=False),  # the clock of its decisions
    sa.Column("path", sa.Text, nullable=False, unique=True),  # of the manifest in the archive
    sa.Column("sha256", sa.String(64), nullable=False),  # of the manifest: what people sign
    sa.Column("objects", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("approvals", sa.Integer, nullable=False),  # that the policy asks for; 0: automatic
    sa.Column("state", sa.String(20), nullable=False),  # ``disposition.ListState``
    sa.Column("author_ref", sa.String(64), nullable=False),
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),  # not carried out by then: make a new one
    sa.Column("grace_until", UtcDateTime),  # known once it is approved
    sa.Column("ended_at", UtcDateTime),
    sa.ForeignKeyConstraint(["policy_id", "policy_version"], ["policies.id", "policies.version"]),
)

disposition_items = sa.Table(
    "disposition_items",
    metadata,
    sa.Column("list_id", sa.ForeignKey("disposition_lists.id"), primary_key=True),
    sa.Column(
        "object_version_id",
        sa.ForeignKey("object_versions.id"),
        primary_key=True,
        autoincrement=False,
        index=True,
    ),
    sa.Column("number", sa.BigInteger, nullable=False),  # its line in the manifest, from 0
    sa.Column("state", sa.String(20), nullable=False),  # ``disposition.ItemState``
    sa.Column("reason", sa.String(40)),  # why it left the straight way
    sa.Column("detail", sa.Text),
    sa.Column("intent_seq", sa.BigInteger),  # the event that said that it would go
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index(None, "list_id", "state"),
)

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("list_id", sa.ForeignKey("disposition_lists.id"), primary_key=True),
    sa.Column("person_id", sa.ForeignKey("people.id"), primary_key=True, autoincrement=False),
    sa.Column("approved", sa.Boolean, nullable=False),  # or refused
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),  # the exact bytes that were signed
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("signed_at", UtcDateTime, nullable=False),
)

certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column(
        "object_version_id", sa.ForeignKey("object_versions.id"), primary_key=True, autoincrement=False
    ),
    sa.Column("list_id", sa.ForeignKey("disposition_lists.id"), nullable=False, index=True),
    sa.Column("intent_seq", sa.ForeignKey("audit_events.seq"), nullable=False),
    sa.Column("confirmed_seq", sa.ForeignKey("audit_events.seq"), nullable=False),
    sa.Column("deleted_at", UtcDateTime, nullable=False),
    sa.Column(
        "purge_not_before", UtcDateTime
    ),  # when the provider's own copies may end; null: nobody told us
    sa.Column(
        "others", sa.Text, nullable=False
    ),  # JSON: other versions, markers and replicas that are known of
)

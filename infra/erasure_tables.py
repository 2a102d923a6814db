"""The ledger's tables about erasing single photos from everywhere, tokens and ledger included.

    erasures 1--* erasure_items *--1 object_versions     what is to be forgotten, and how far that is
    erasures 1--* shard_rewrites                         shards that were written again without it

What an erased photo was called stands in none of them. Knows nothing about queries.
"""

from __future__ import annotations

import sqlalchemy as sa

from infra.table_types import ID, UtcDateTime, metadata

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("id", sa.String(60), primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),  # of what is to be erased: what somebody signs
    sa.Column("state", sa.String(20), nullable=False),  # ``erasure.State``
    sa.Column("reason", sa.Text, nullable=False),  # a request's number; never a name
    sa.Column("author_ref", sa.String(64), nullable=False),
    sa.Column("made_at", UtcDateTime, nullable=False),
    sa.Column("approver_id", sa.ForeignKey("people.id")),
    sa.Column("statement", sa.LargeBinary),  # the exact bytes that were signed
    sa.Column("signature", sa.Text),
    sa.Column("approved_at", UtcDateTime),
    sa.Column("done_seq", sa.BigInteger),  # the event that says that nothing is left
    sa.Column("done_at", UtcDateTime),
)

erasure_items = sa.Table(
    "erasure_items",
    metadata,
    sa.Column("erasure_id", sa.ForeignKey("erasures.id"), primary_key=True),
    sa.Column(
        "object_version_id",
        sa.ForeignKey("object_versions.id"),
        primary_key=True,
        autoincrement=False,
        index=True,
    ),
    sa.Column("state", sa.String(20), nullable=False),  # ``erasure.ItemState``
    sa.Column("intent_seq", sa.BigInteger),
    sa.Column("confirmed_seq", sa.BigInteger),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

shard_rewrites = sa.Table(
    "shard_rewrites",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("erasure_id", sa.ForeignKey("erasures.id"), nullable=False, index=True),
    sa.Column("collection_id", sa.ForeignKey("collections.id"), nullable=False),
    sa.Column("compressor_id", sa.ForeignKey("compressors.id"), nullable=False),
    sa.Column("shard_id", sa.BigInteger, nullable=False),
    sa.Column("old_path", sa.Text, nullable=False, unique=True),
    sa.Column("new_path", sa.Text),  # null: nothing was left of it
    sa.Column("seq", sa.BigInteger, nullable=False),  # the event
    sa.Index(None, "collection_id", "compressor_id"),
)

"""What proves the audit log: its tree, signed checkpoints, anchors, keys, nightly states; facts numbered by object."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

import infra.tables
from fwd2bot_core.audit.merkle import Frontier, root

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NODE = 256  # leaves under a node of the lowest level, and nodes under one of the next


def upgrade() -> None:
    op.add_column("object_versions", sa.Column("facts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "audit_head", sa.Column("frontier", sa.LargeBinary(), nullable=False, server_default=sa.text("''"))
    )
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_audit_nodes")),
    )
    op.create_table(
        "audit_keys",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("vkey", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_keys")),
        sa.UniqueConstraint("vkey", name=op.f("uq_audit_keys_vkey")),
    )
    op.create_table(
        "audit_checkpoints",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_anchors",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("anchor", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("retain_until", infra.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("anchored_at", infra.tables.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["size"], ["audit_checkpoints.size"], name=op.f("fk_audit_anchors_size")),
        sa.PrimaryKeyConstraint("size", "anchor", name=op.f("pk_audit_anchors")),
    )
    op.create_table(
        "audit_states",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["audit_events.seq"], name=op.f("fk_audit_states_seq")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_states")),
    )
    _grow_the_tree()


def _grow_the_tree() -> None:
    """The tree over the events that are there already."""
    connection = op.get_bind()
    frontier, below = Frontier.empty(), list[bytes]()
    for leaf in _leaves(connection):
        frontier.append(leaf)
        below.append(leaf)
        if len(below) == _NODE:
            _add_node(connection, 1, frontier.size // _NODE - 1, root(below))
            below.clear()
    level, nodes = 1, frontier.size // _NODE
    while nodes >= _NODE:
        found = sa.text(
            "SELECT hash FROM audit_nodes WHERE level = :level AND number >= :first ORDER BY number LIMIT 256"
        )
        for number in range(nodes // _NODE):
            hashes = connection.execute(found, {"level": level, "first": number * _NODE}).scalars()
            _add_node(connection, level + 1, number, root(bytes(each) for each in hashes))
        level, nodes = level + 1, nodes // _NODE
    connection.execute(sa.text("UPDATE audit_head SET frontier = :frontier"), {"frontier": frontier.dump()})


def _leaves(connection: sa.Connection) -> Iterator[bytes]:
    page = sa.text("SELECT seq, leaf FROM audit_events WHERE seq > :last ORDER BY seq LIMIT 10000")
    last = -1
    while rows := connection.execute(page, {"last": last}).all():
        yield from (bytes(row.leaf) for row in rows)
        last = rows[-1].seq


def _add_node(connection: sa.Connection, level: int, number: int, hash: bytes) -> None:
    values: dict[str, Any] = {"level": level, "number": number, "hash": hash}
    connection.execute(
        sa.text("INSERT INTO audit_nodes (level, number, hash) VALUES (:level, :number, :hash)"), values
    )

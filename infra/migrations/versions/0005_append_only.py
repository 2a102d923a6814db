"""Triggers that refuse to change or remove what the audit trail holds: guard rails, and no security boundary.

They stop a slip of the hand and a faulty statement. Whoever owns the tables can drop them; what finds *that* out is the
Merkle tree with its anchored checkpoints. ``audit_head`` may grow, a key is retired once, a nightly list's secret can
be erased; ``audit_values`` has no trigger, because names must be erasable.

A later migration that rebuilds one of these tables on SQLite (Alembic's batch mode) drops its triggers, and must make
them again.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEYS = {  # what tells a row from the others: each group is unique
    "audit_events": (("seq",), ("event_id",)),
    "audit_nodes": (("level", "number"),),
    "audit_segments": (("seq",),),
    "audit_keys": (("id",), ("vkey",)),
    "audit_checkpoints": (("size",),),
    "audit_anchors": (("size", "anchor"),),
    "audit_states": (("seq",),),
    "audit_head": (("id",),),
}
# An UPDATE is refused where this holds; {differs} is how the database says that two values, or nulls, differ.
_REFUSED = {
    "audit_head": "NEW.id {differs} OLD.id OR NEW.size < OLD.size",
    "audit_keys": (
        "OLD.until IS NOT NULL OR NEW.until IS NULL"
        " OR NEW.id {differs} OLD.id OR NEW.vkey {differs} OLD.vkey OR NEW.since {differs} OLD.since"
    ),
    "audit_states": (
        "length(NEW.secret) > 0 OR NEW.seq {differs} OLD.seq OR NEW.path {differs} OLD.path"
        " OR NEW.sha256 {differs} OLD.sha256 OR NEW.rows {differs} OLD.rows OR NEW.root {differs} OLD.root"
    ),
}
_SAID = "only grows: what the audit trail holds is never changed or removed (see docs/audit-roles.md)"


def upgrade() -> None:
    statements = _sqlite() if op.get_bind().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.get_bind().execute(sa.text(statement))


def _sqlite() -> Iterator[str]:
    for table, keys in _KEYS.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} {_SAID}'); END"
        refused = _REFUSED.get(table, "TRUE").format(differs="IS NOT")
        yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} WHEN {refused} {refuse}"
        yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}"
        # INSERT OR REPLACE fires no DELETE trigger in a program that did not switch recursive_triggers on
        same = " OR ".join(" AND ".join(f"{name} = NEW.{name}" for name in key) for key in keys)
        there = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608
        yield f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {there} {refuse}"


def _postgresql() -> Iterator[str]:
    yield (
        "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
        f" '% {_SAID}', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for table in _KEYS:
        refuse = "EXECUTE FUNCTION audit_refuse()"
        refused = _REFUSED.get(table, "TRUE").format(differs="IS DISTINCT FROM")
        row = "FOR EACH ROW"
        yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {row} WHEN ({refused}) {refuse}"
        yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {row} {refuse}"
        yield f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}"

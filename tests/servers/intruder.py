"""Somebody with all rights on the database, for tests that attack the audit trail.

Knows how triggers are found and dropped on each database. Knows nothing of the trail.
"""

from __future__ import annotations

import sqlalchemy as sa

_TRIGGERS = {
    "sqlite": "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": (
        "SELECT tgname, tgrelid::regclass::text FROM pg_trigger"
        " WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'audit\\_%'"
    ),
}


def as_intruder(connection: sa.Connection) -> sa.Connection:
    """The same connection, of ``ledger.write()``, with the append-only triggers out of the way, for good once it
    commits: whoever may drop them may then change the audit trail as he likes."""
    dialect = connection.dialect.name
    for name, table in connection.execute(sa.text(_TRIGGERS[dialect])).all():
        where = f" ON {table}" if dialect == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER {name}{where}")
    return connection

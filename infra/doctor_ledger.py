"""What the doctor asks of the ledger: it takes writes, its clock is ours, its disk has room.

A database that is too old or too new is refused when it is opened (``infra.database``). The disk of a PostgreSQL
cannot be seen from here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, select

from fwd2bot_core.errors import LedgerError
from infra.doctor_limits import clock_problem, disk_problem
from infra.installation import Installation
from infra.tables import audit_head


def examine(house: Installation) -> str:
    """What is well, in one sentence. Raises ``LedgerError`` with what is not."""
    ledger, url = house.ledger, make_url(house.settings.archive.ledger)
    with ledger.write() as connection:
        before = datetime.now(UTC)
        theirs: Any = connection.execute(select(ledger.now(connection))).scalar_one()  # a text in SQLite
        after = datetime.now(UTC)
        connection.execute(audit_head.update().values(size=audit_head.c.size))  # as it is, and taken back
        connection.rollback()
    if url.get_backend_name() == "sqlite":
        problem = disk_problem(ledger.name, Path(url.database).parent) if url.database else None
    else:
        problem = clock_problem(ledger.name, theirs, before, after)
    if problem is not None:
        raise LedgerError(problem)
    return f"{ledger.name} answers and takes writes"

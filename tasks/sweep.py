"""Objects that no commit names: left by crashed runs, recognised later, never read, removed when old.

Works on the archive alone; it holds no credentials and no code that could touch an original.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import islice

import sqlalchemy as sa

from fwd2bot_core.errors import ObjectChanged, ObjectMissing
from infra import audit_log, leases
from infra.database import Ledger
from infra.objects import ObjectInfo, ObjectStore
from infra.tables import audit_segments, shards
from tasks.runs import Run

SWEPT = {"tokens/": shards.c.path, "audit/segments/": audit_segments.c.path}
CHUNK = 500


def orphans(ledger: Ledger, archive: ObjectStore) -> Iterator[ObjectInfo]:
    """Every shard and segment in the archive that the ledger does not name, whatever its age."""
    for prefix, path in SWEPT.items():
        entries = archive.list(prefix)
        while chunk := list(islice(entries, CHUNK)):
            with ledger.read() as connection:
                known = set(
                    connection.execute(
                        sa.select(path).where(path.in_([entry.key for entry in chunk]))
                    ).scalars()
                )
            yield from (entry for entry in chunk if entry.key not in known)


def sweep(ledger: Ledger, archive: ObjectStore, run: Run, *, older_than: timedelta) -> int:
    """Delete orphans older than ``older_than``, which must be longer than any batch takes; how many went.

    The event is written before the deletion, so that none is unexplained.
    """
    horizon = audit_log.now() - older_than
    old = (orphan for orphan in orphans(ledger, archive) if orphan.modified < horizon)
    return sum(_remove(ledger, archive, run, orphan) for orphan in old)


def _remove(ledger: Ledger, archive: ObjectStore, run: Run, orphan: ObjectInfo) -> bool:
    with ledger.write() as connection:
        leases.check(connection, run.lease)
        if _named_now(connection, orphan.key):
            return False
        subject = {"path": orphan.key, "bytes": orphan.size}
        audit_log.append(connection, run.event("orphan.swept", subject=subject, reason_code="uncommitted"))
    with ledger.write() as connection:
        audit_log.hold(connection)  # no commit can name the object between this look and the deletion
        if _named_now(connection, orphan.key):
            return False  # a resumed batch found these very bytes and committed them
        with suppress(ObjectMissing, ObjectChanged):
            archive.delete_version(orphan)
    return True


def _named_now(connection: sa.Connection, key: str) -> bool:
    return any(
        connection.execute(sa.select(path).where(path == key)).first() is not None for path in SWEPT.values()
    )

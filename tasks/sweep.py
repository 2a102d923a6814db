"""Objects that no commit names: left by crashed runs, recognised later, never read, removed when old.

Works on the archive alone; it holds no credentials and no code that could touch an original.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import sqlalchemy as sa

from fwd2bot_core.errors import ObjectMissing, StoreError
from infra import audit_log
from infra.audit_restores import restores
from infra.database import Ledger
from infra.objects import ObjectInfo, ObjectStore
from infra.tables import audit_segments, shards
from tasks.runs import Run, changing

SWEPT = {"tokens/": shards.c.path, "audit/segments/": audit_segments.c.path}
CHUNK = 500
CLOCKS_APART = timedelta(
    days=1
)  # the store's from the ledger's, at most: what is kept by mistake costs little


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


@dataclass(slots=True)
class Sweep:
    """Orphans by what became of them."""

    swept: int = 0
    kept: int = 0  # old enough, but the store did not let them go; the next night tries again


def sweep(ledger: Ledger, archive: ObjectStore, run: Run, *, older_than: timedelta) -> Sweep:
    """Delete orphans older than ``older_than``, which must be longer than any batch takes.

    The log says that one is to go before it goes, and afterwards whether it went. What was there when the ledger was
    restored from a backup stays for ever: a commit of it may be among the events that were lost, and its original gone.
    """
    horizon, restored = audit_log.now() - older_than, _restored_at(ledger)
    done = Sweep()
    for orphan in orphans(ledger, archive):
        if restored is not None and orphan.modified <= restored + CLOCKS_APART:
            continue
        if orphan.modified >= horizon or not _announced(ledger, run, orphan):
            continue
        if _removed(ledger, archive, run, orphan):
            done.swept += 1
        else:
            done.kept += 1
    return done


def _restored_at(ledger: Ledger) -> datetime | None:
    """When the ledger was last restored from a backup, as the log says."""
    with ledger.read() as connection:
        found = restores(connection)
    return datetime.fromisoformat(found[-1].at) if found else None


def _announced(ledger: Ledger, run: Run, orphan: ObjectInfo) -> bool:
    with changing(ledger, run) as connection:
        if _named_now(connection, orphan.key):
            return False
        subject = {"path": orphan.key, "bytes": orphan.size}
        audit_log.append(connection, run.event("orphan.sweeping", subject=subject, reason_code="uncommitted"))
    return True


def _removed(ledger: Ledger, archive: ObjectStore, run: Run, orphan: ObjectInfo) -> bool:
    with ledger.write() as connection:
        audit_log.hold(connection)  # no commit can name the object between this look and the deletion
        refused = "committed" if _named_now(connection, orphan.key) else _deleted(archive, orphan)
        event = run.event(
            "orphan.kept" if refused else "orphan.swept", subject={"path": orphan.key}, reason_code=refused
        )
        audit_log.append(connection, event)
    return refused is None


def _deleted(archive: ObjectStore, orphan: ObjectInfo) -> str | None:
    """None when it is gone; else why it is not."""
    try:
        archive.delete_version(orphan)
    except ObjectMissing:
        return None
    except StoreError as error:
        return type(error).__name__
    return None


def _named_now(connection: sa.Connection, key: str) -> bool:
    return any(
        connection.execute(sa.select(path).where(path == key)).first() is not None for path in SWEPT.values()
    )

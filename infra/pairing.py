"""One ledger, one archive: neither may be swapped for another one, or for an older state of itself, unnoticed.

The archive holds a small object that names its ledger and the newest event of the audit log when a run last began or
ended. A ledger that lacks this event was restored from a backup or made anew; working with it would take committed
shards for orphans. Knows nothing about runs; the signed checkpoints of the audit trail will say the same to strangers.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from fwd2bot_core.errors import IntegrityError, ObjectMissing
from infra import audit_log
from infra.objects import ObjectStore
from infra.tables import audit_events, installation, shards

PATH = "ledger-head.json"


@dataclass(frozen=True, slots=True)
class Head:
    """What the archive knows of its ledger."""

    installation: str
    events: int  # in the audit log
    leaf: str | None  # of the newest event, hex


def check(connection: sa.Connection, archive: ObjectStore) -> None:
    """Raises ``IntegrityError`` unless this archive and this ledger belong together and the ledger is as new.

    The first check of a new ledger on a new archive pairs them.
    """
    mine = connection.execute(sa.select(installation.c.uuid)).scalar_one_or_none()
    said = seen(archive)
    if said is None:
        if mine is not None and connection.execute(sa.select(shards.c.id).limit(1)).first() is not None:
            raise IntegrityError(
                f"{archive.uri} holds no {PATH}, but the ledger has committed shards to its archive: it was emptied or "
                "is another one. Point archive.store at the right one, or restore it."
            )
        if mine is None:
            connection.execute(installation.insert().values(id=1, uuid=str(uuid.uuid4())))
        return
    if mine != said.installation:
        raise IntegrityError(
            f"{archive.uri} belongs to another ledger (installation {said.installation}). Use that ledger, or name an "
            "empty place for this one's archive."
        )
    if said.events and leaf_of(connection, said.events - 1) != said.leaf:
        raise IntegrityError(
            f"the ledger does not hold event {said.events - 1} as the archive saw it: it was restored from an older "
            "backup, or changed. Nothing was done; restore the newest ledger, then run `fwd2bot verify`; if there is "
            "no newer one, record the loss with `fwd2bot audit restored`"
        )


def record(connection: sa.Connection, archive: ObjectStore) -> None:
    """Tell the archive how far the log has come. In a write transaction, so that the head cannot go back; in one that
    writes nothing, so that the archive never knows of an event that is not committed."""
    events = audit_log.hold(connection)
    mine = connection.execute(sa.select(installation.c.uuid)).scalar_one()
    head = Head(mine, events, leaf_of(connection, events - 1) if events else None)
    archive.replace(PATH, json.dumps(asdict(head), sort_keys=True).encode() + b"\n")


def seen(archive: ObjectStore) -> Head | None:
    """What the archive says of its ledger; None if it was never told. Raises ``IntegrityError`` for what is no head."""
    try:
        return Head(**json.loads(archive.read(PATH)))
    except ObjectMissing:
        return None
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"{PATH} in {archive.uri} is damaged: {error}") from None


def is_of(connection: sa.Connection, head: Head) -> bool:
    """Whether the archive speaks of this ledger."""
    return connection.execute(sa.select(installation.c.uuid)).scalar_one_or_none() == head.installation


def leaf_of(connection: sa.Connection, seq: int) -> str | None:
    """The leaf hash, hex, of an event; None if there is no such event."""
    leaf = connection.execute(
        sa.select(audit_events.c.leaf).where(audit_events.c.seq == seq)
    ).scalar_one_or_none()
    return None if leaf is None else leaf.hex()

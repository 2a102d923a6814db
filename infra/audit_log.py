"""Appending to the audit log, in the transaction of the change that is recorded.

One head row serialises the writers, so numbers have no gaps and no fork can arise. The exact canonical
bytes are stored beside their leaf hash. Names of persons and collections stand in the log as salted
commitments; salt and value lie in ``audit_values``, where they can be erased. Knows nothing about which
events there are.
"""

from __future__ import annotations

import getpass
import secrets
from datetime import UTC, datetime

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import leaf_hash
from infra.tables import audit_events, audit_head, audit_values


def append(connection: sa.Connection, event: Event) -> int:
    """Store one event as the next of the log; returns its number, counted from 0."""
    size = hold(connection)
    body = event.body(size)
    connection.execute(
        audit_events.insert().values(
            seq=size,
            event_id=str(event.event_id),
            type=event.type,
            occurred_at=event.occurred_at,
            run_id=event.run_id,
            body=body,
            leaf=leaf_hash(body),
        )
    )
    connection.execute(audit_head.update().values(size=size + 1))
    return size


def hold(connection: sa.Connection) -> int:
    """Keep every other writer of the log waiting until this transaction ends; the log's size."""
    return int(connection.execute(sa.select(audit_head.c.size).with_for_update()).scalar_one())


def reference(connection: sa.Connection, kind: str, value: str) -> str:
    """The commitment that stands for a name in the log; the same name keeps the same one until it is erased."""
    found = connection.execute(
        sa.select(audit_values.c.ref).where(audit_values.c.kind == kind, audit_values.c.value == value)
    ).scalar_one_or_none()
    if found is not None:
        return str(found)
    salt = secrets.token_bytes(16)
    ref = commitment(salt, kind, value)
    connection.execute(audit_values.insert().values(ref=ref, kind=kind, salt=salt, value=value))
    return ref


def actor(connection: sa.Connection, role: str) -> Actor:
    """The person or service account that this process runs as, in the role that it acts in."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a numeric user without a name, as in many containers
        name = "unknown"
    return Actor(reference(connection, "actor", name), role)


def now() -> datetime:
    """The wall clock, as events record it; they name it as their source."""
    return datetime.now(UTC)

"""Appending to the audit log, in the transaction of the change that is recorded.

One head row serialises the writers, so numbers have no gaps and no fork can arise. The exact canonical
bytes are stored beside their leaf hash. Names of persons and collections stand in the log as salted
commitments; salt and value lie in ``audit_values``, where they can be erased. Knows nothing about which
events there are.
"""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import Frontier, leaf_hash, node_hash
from infra.tables import audit_events, audit_head, audit_nodes, audit_values, object_versions

NODE = 256  # leaves under a node of level 1, and nodes under one of the next level


def append(connection: sa.Connection, event: Event) -> int:
    """Store one event as the next of the log; returns its number, counted from 0."""
    return append_all(connection, [event])


def append_all(connection: sa.Connection, events: Sequence[Event]) -> int:
    """Store events in their order, at least one, as the next of the log; returns the first one's number."""
    frontier = _hold(connection)
    first = frontier.size
    stored = _TIMES[connection.dialect.name]
    rows, nodes = [], list[dict[str, Any]]()
    for seq, event in enumerate(events, first):
        body = event.body(seq)
        leaf = leaf_hash(body)
        at = stored(event.occurred_at)
        rows.append((seq, str(event.event_id), event.type, at, event.run_id, body, leaf))
        if (seq + 1) % NODE == 0:
            nodes += _completed(frontier, leaf)
        frontier.append(leaf)
    _insert(connection, rows)
    connection.execute(audit_head.update().values(size=frontier.size, frontier=frontier.dump()))
    if nodes:
        connection.execute(audit_nodes.insert(), nodes)
    return first


def _as_utc(at: datetime) -> datetime:
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _as_text(at: datetime) -> str:
    return _as_utc(at).isoformat(" ", "microseconds")[:26]  # without the offset


_TIMES: dict[str, Callable[[datetime], Any]] = {"sqlite": _as_text, "postgresql": _as_utc}
"""Aware times, which ``Event.body`` refuses otherwise, as the column's own type stores them, in a third of the time."""


def _insert(connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Rows as the driver takes them: converting value by value would take as long as inserting."""
    mark = {"sqlite": "?", "postgresql": "%s"}[connection.dialect.name]
    columns = ("seq", "event_id", "type", "occurred_at", "run_id", "body", "leaf")
    values = ", ".join([mark] * len(columns))
    statement = f"INSERT INTO {audit_events.name} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608
    connection.exec_driver_sql(statement, rows)


def _completed(frontier: Frontier, leaf: bytes) -> list[dict[str, Any]]:
    """The nodes that ``leaf`` will complete when it is appended: of level 1 with each 256th leaf, and so on.

    The eight last peaks are then the perfect subtrees on its left within the node.
    """
    nodes: list[dict[str, Any]] = []
    number, peaks = frontier.size + 1, reversed(frontier.peaks)
    while number % NODE == 0:
        for peak in islice(peaks, NODE.bit_length() - 1):
            leaf = node_hash(peak, leaf)
        number //= NODE
        nodes.append({"level": len(nodes) + 1, "number": number - 1, "hash": leaf})
    return nodes


def hold(connection: sa.Connection) -> int:
    """Keep every other writer of the log waiting until this transaction ends; the log's size."""
    return _hold(connection).size


def _hold(connection: sa.Connection) -> Frontier:
    head = connection.execute(sa.select(audit_head.c.size, audit_head.c.frontier).with_for_update()).one()
    return Frontier.load(int(head.size), head.frontier)


def next_fact(connection: sa.Connection, object_version_id: int) -> int:
    """Count one more fact about an object version, in the transaction that logs it; returns the fact's number.

    Such an event names its object in ``subject`` as ``object_version`` and this number as ``n``. Numbers go 0, 1, 2,
    ... over events and segment lines alike, so that a fact that was left out shows. Raises ``ValueError`` for an
    object version that the ledger does not have.
    """
    hold(connection)  # before the row: whoever commits a batch takes them in this order too
    mine = object_versions.c.id == object_version_id
    counted = object_versions.update().where(mine).values(facts=object_versions.c.facts + 1)
    facts = connection.execute(counted.returning(object_versions.c.facts)).scalar_one_or_none()
    if facts is None:
        raise ValueError(f"there is no object version {object_version_id} to log a fact about")
    return int(facts) - 1


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

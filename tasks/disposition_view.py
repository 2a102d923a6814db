"""Disposition lists as people look at them: a line each, or one with its counts, reasons, samples, signatures.

What a list holds is read from its manifest, whose hash is checked first; what became of it, from the ledger. Writes
nothing. Memory stays flat however long a list is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from io import BufferedReader
from typing import Any, cast

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import IntegrityError, UsageError
from infra.installation import Installation
from infra.retention_tables import disposition_items, disposition_lists
from infra.tables import collections
from tasks.erasure import ERASED
from tasks.review import Said, find, said_of

SAMPLES = 5
CHUNK = 1000
COLUMNS = (
    "key", "identity", "object_version_id", "sha256", "size", "rule", "not_before", "state", "reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """One list in a line."""

    id: str
    collection: str
    policy: str
    version: int
    state: str
    objects: int
    bytes: int
    approvals: int  # that count
    needed: int
    made_at: datetime
    grace_until: datetime | None
    expires_at: datetime


@dataclass(slots=True)
class Shown:
    """One list; ``states`` counts its items by state and reason, ``rules`` objects and bytes by rule."""

    overview: Overview
    sha256: str
    policy_sha256: str
    said: list[Said]
    states: dict[str, int] = field(default_factory=dict)
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)
    first_end: str | None = None  # of the periods that were over
    last_end: str | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)  # evenly from the whole list


def overviews(connection: sa.Connection) -> list[Overview]:
    """All lists, newest first."""
    rows = connection.execute(_lists().order_by(disposition_lists.c.made_at.desc(), disposition_lists.c.id))
    return [_overview(connection, row) for row in rows.all()]


def show(house: Installation, list_id: str) -> Shown:
    """Raises ``UsageError`` for an unknown list, and ``IntegrityError`` for a manifest that was changed."""
    with house.ledger.read() as connection:
        find(connection, list_id)
        row = connection.execute(_lists().where(disposition_lists.c.id == list_id)).one()
        shown = Shown(_overview(connection, row), row.sha256, row.policy_sha256, said_of(connection, row))
        every = max(1, -(-row.objects // SAMPLES))
        states, rules, ends = Counter[str](), dict[str, tuple[int, int]](), set[str]()
        for number, line in enumerate(_lines(house, connection, row)):
            states[line["state"] + (f" ({line['reason']})" if line["reason"] else "")] += 1
            objects, size = rules.get(line["rule"], (0, 0))
            rules[line["rule"]] = objects + 1, size + line["size"]
            ends = {min(ends | {line["not_before"]}), max(ends | {line["not_before"]})}
            if number % every == 0:
                shown.samples.append(line)
    shown.states, shown.rules = dict(sorted(states.items())), dict(sorted(rules.items()))
    shown.first_end, shown.last_end = min(ends, default=None), max(ends, default=None)
    return shown


def lines(house: Installation, list_id: str) -> Iterator[dict[str, Any]]:
    """Each item with ``COLUMNS``, in the order of the list. The same errors, before the first item."""
    with house.ledger.read() as connection:
        yield from _lines(house, connection, find(connection, list_id))


def _lines(house: Installation, connection: sa.Connection, row: sa.Row[Any]) -> Iterator[dict[str, Any]]:
    if row.path.startswith(f"{ERASED}:"):
        raise UsageError(
            f"list {row.id} named photos that were erased since, so its lines are gone; what was signed and what "
            "became of it stays in the log: fwd2bot audit log"
        )
    item = disposition_items.c
    query = (
        sa.select(item.number, item.state, item.reason).where(item.list_id == row.id).order_by(item.number)
    )
    with house.archive.open(row.path) as file:
        if hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest() != row.sha256:
            raise IntegrityError(
                f"{row.path} in the archive is not list {row.id} as it was made: refuse it, make a new one, and run "
                "`fwd2bot verify`"
            )
        file.seek(0)
        next(file)  # the heading
        with connection.execute(query, execution_options={"yield_per": CHUNK}) as now:
            for line, state in zip(file, now, strict=True):
                yield parse(line.rstrip(b"\n")) | {"state": state.state, "reason": state.reason}


def _lists() -> sa.Select[Any]:
    return sa.select(disposition_lists, collections.c.name.label("collection")).join(
        collections, collections.c.id == disposition_lists.c.collection_id
    )


def _overview(connection: sa.Connection, row: sa.Row[Any]) -> Overview:
    return Overview(
        id=row.id,
        collection=row.collection,
        policy=row.policy_id,
        version=row.policy_version,
        state=row.state,
        objects=row.objects,
        bytes=row.bytes,
        approvals=sum(one.approved and one.counts for one in said_of(connection, row)),
        needed=row.approvals,
        made_at=row.made_at,
        grace_until=row.grace_until,
        expires_at=row.expires_at,
    )

"""Facts about single images are numbered 0, 1, 2, ... for each object version, wherever in the audit trail they stand.

A fact is a line of a committed audit segment or an event of its own, such as a quarantine. The ledger counts them in
the transaction that makes them part of the trail. Knows nothing about what the facts say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.work import Batch, Unit
from infra import audit_log
from infra.table_types import among
from infra.tables import collections, object_versions

EVENTS = (  # types of events that are a fact about one object version: a timeline looks for these
    "image.quarantined",
    "list.rescued",
    "destruction.intended",
    "destruction.confirmed",
    "destruction.blocked",
    "destruction.missing",
    "destruction.unknown",
    "destruction.withdrawn",
    "original.restored",
    "moment.recorded",
    "erasure.intended",
    "erasure.withdrawn",
    "erasure.confirmed",
)


ROWS_AT_ONCE = 5_000


def count(connection: sa.Connection, batch: Batch, contents: Mapping[int, str]) -> None:
    """Count the lines of a batch's segment, one a unit, in the transaction that commits it; it holds the log's head.
    Also writes down what a version was found to hold (``contents``: sha256 by number) where that was not known: once it
    was found it stays, and a row that is changed once is written once.

    Raises ``IntegrityError`` when a line's number is not the next one of its object version: something else was
    logged about the image since the batch was read from the ledger. The next try numbers the batch afresh.
    """
    ids = [unit.object_version_id for unit in batch.units]
    mine = among(connection, object_versions.c.id, ids)
    rows = connection.execute(sa.select(object_versions.c.id, object_versions.c.facts).where(mine))
    held = {row.id: row.facts for row in rows}
    for unit in batch.units:
        if (now := held.get(unit.object_version_id)) != unit.facts:
            raise IntegrityError(
                f"the segment of batch {batch.batch_id} calls its line about object version {unit.object_version_id} "
                f"fact {unit.facts} about it, and the ledger counts {now} by now: something else was logged about it "
                "meanwhile. The batch is not committed; the next try numbers it afresh."
            )
    found = sa.bindparam("content", type_=object_versions.c.content_sha256.type)
    connection.execute(
        object_versions.update()
        .where(object_versions.c.id == sa.bindparam("unit"))
        .values(
            facts=object_versions.c.facts + 1,
            content_sha256=sa.func.coalesce(object_versions.c.content_sha256, found),
        ),
        [{"unit": number, "content": contents.get(number)} for number in ids],
    )


def unit_of(row: sa.Row[Any], collection: str) -> Unit:
    """A row of ``object_versions``, whatever else it holds, as what a worker or an event is told of."""
    return Unit(
        object_version_id=row.id,
        collection=collection,
        key=row.key,
        identity=row.identity,
        size=row.size,
        modified=row.modified,
        salt=row.salt,
        content_sha256=row.content_sha256,
        facts=row.facts,
    )


def units(
    connection: sa.Connection, where: sa.ColumnElement[bool], collection: str | None = None
) -> Iterator[Unit]:
    """The object versions that are not gone and for which ``where`` is true, by number, streamed."""
    query = (
        sa.select(object_versions, collections.c.name.label("collection"))
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(object_versions.c.destroyed_seq.is_(None), where)
        .order_by(object_versions.c.id)
    )
    if collection is not None:
        query = query.where(collections.c.name == collection)
    for row in connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}):
        yield unit_of(row, row.collection)


def subjects(connection: sa.Connection, units: Sequence[Unit]) -> dict[int, dict[str, Any]]:
    """``subject`` of several images at once, by number; each counts one fact."""
    audit_log.hold(connection)
    mine = object_versions.c.id.in_([unit.object_version_id for unit in units])
    connection.execute(object_versions.update().where(mine).values(facts=object_versions.c.facts + 1))
    rows = connection.execute(sa.select(object_versions.c.id, object_versions.c.facts).where(mine))
    counted = {row.id: row.facts - 1 for row in rows}
    return {unit.object_version_id: _named(unit, counted[unit.object_version_id]) for unit in units}


def subject(connection: sa.Connection, unit: Unit) -> dict[str, Any]:
    """What an event that is a fact about one image says of it; counts the fact.

    The commitments are those of its segment lines, so that a reader without the ledger sees that they are about the
    same image.
    """
    return _named(unit, audit_log.next_fact(connection, unit.object_version_id))


def _named(unit: Unit, n: int) -> dict[str, Any]:
    return {
        "object_version": unit.object_version_id,
        "unit": commitment(unit.salt, "key", unit.key),
        "identity": commitment(unit.salt, "identity", unit.identity),
        "n": n,
    }

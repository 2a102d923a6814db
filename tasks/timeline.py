"""All facts about one object version in the audit trail: lines of committed segments, and events of its own.

Each comes with what leads from it to the log: the event's number, and for a line the path to the segment's root.
Knows where to look; judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import canonical, commitment, parse
from fwd2bot_core.audit.segment import prove_line, read_segment, verify_subroot
from infra.objects import ObjectStore
from infra.tables import audit_events, audit_segments, failures, shards, summaries, work
from tasks import facts


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. For an event of its own, ``segment`` is None and ``body`` is the event's."""

    seq: int  # of the event that made it part of the log
    n: int | None  # its number; None: from before facts were numbered
    body: bytes  # canonical
    segment: str | None = None  # the path of the segment that the line is in
    index: int = 0  # of the line in its segment
    rows: int = 0  # of the segment
    proof: tuple[bytes, ...] = ()  # from the line to the segment's root


def timeline(connection: sa.Connection, archive: ObjectStore, row: sa.Row[Any]) -> list[Fact]:
    """In the order of the log. ``row`` is one of ``object_versions``.

    Raises ``IntegrityError`` for a segment that is not the one that was committed, ``ObjectMissing`` for one that is
    gone.
    """
    return sorted([*_lines(connection, archive, row), *_events(connection, row)], key=lambda fact: fact.seq)


def _lines(connection: sa.Connection, archive: ObjectStore, row: sa.Row[Any]) -> Iterator[Fact]:
    names = {
        "unit": commitment(row.salt, "key", row.key),
        "identity": commitment(row.salt, "identity", row.identity),
    }
    query = sa.select(audit_segments).where(audit_segments.c.batch_id.in_(_batches(row.id)))
    for segment in connection.execute(query.order_by(audit_segments.c.seq)).all():
        data = archive.read(segment.path)
        verify_subroot(data, segment.subroot)
        for index, line in enumerate(found := read_segment(data)):
            if names.items() <= line.items():
                proof = prove_line(data, index)
                yield Fact(
                    segment.seq, line.get("n"), canonical(line), segment.path, index, len(found), proof
                )


def _batches(object_version_id: int) -> sa.CompoundSelect[Any]:
    """Every batch that the image was ever committed, failed or claimed in."""
    mine = [table.c.object_version_id == object_version_id for table in (summaries, failures, work)]
    committed = (
        sa.select(shards.c.batch_id).join(summaries, summaries.c.shard_id == shards.c.id).where(mine[0])
    )
    failed = sa.select(failures.c.batch_id).where(mine[1])
    return sa.union(committed, failed, sa.select(work.c.batch_id).where(mine[2]))


def _events(connection: sa.Connection, row: sa.Row[Any]) -> Iterator[Fact]:
    query = sa.select(audit_events.c.seq, audit_events.c.body).where(audit_events.c.type.in_(facts.EVENTS))
    for event in connection.execute(query):
        subject = parse(event.body).get("subject", {})
        if subject.get("object_version") == row.id:
            yield Fact(event.seq, subject.get("n"), event.body)

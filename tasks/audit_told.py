"""What the ledger says of its audit log besides the bodies: head, keys, checkpoints, receipts, and traces of events.

Read in one snapshot, before the bodies. All of it is hearsay; ``audit_verify`` holds it against the bodies and against
what is kept outside. Knows queries. Knows nothing about what is true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit import key_history
from fwd2bot_core.audit.key_history import Span
from fwd2bot_core.audit.tiles import WIDTH
from fwd2bot_core.audit.verdicts import Finding, Verdict
from fwd2bot_core.errors import NoteInvalid
from infra import audit_keys
from infra.audit_restores import Restore, restores
from infra.tables import (
    RunState,
    audit_anchors,
    audit_checkpoints,
    audit_events,
    audit_head,
    audit_nodes,
    audit_segments,
    audit_states,
    runs,
)
from infra.tables import audit_keys as keys_table

_ENDED = (RunState.COMPLETED, RunState.PARTLY_FAILED, RunState.FAILED)  # by themselves, and so with an event
_LATE_RUNS = 20  # whose end is looked for; finding it takes reading all of a run's events


@dataclass(frozen=True, slots=True)
class Trace:
    """Something in the ledger that an event must have written. ``size``: events that there were then, if that shows."""

    size: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Before:
    """Read before the anchors are asked: what they got must be there then. What they hold must be in ``Told``."""

    newest_note: str | None  # by which a witness is asked what it has seen
    receipts: tuple[sa.Row[Any], ...]  # of checkpoints of ``since`` events and more


@dataclass(frozen=True, slots=True)
class Told:
    """One snapshot. Rows have the columns of their tables."""

    rows: int  # the largest number of an event, plus one
    head: int
    frontier: bytes
    spans: list[Span]
    checkpoints: list[sa.Row[Any]]  # of ``since`` events and more, smallest first
    restores: list[Restore]
    traces: list[Trace]  # of events after the last row
    findings: list[Finding]


def read_told(connection: sa.Connection, since: int) -> Told:
    """What is said now."""
    last = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one()
    rows = 0 if last is None else last + 1
    head = connection.execute(sa.select(audit_head.c.size, audit_head.c.frontier)).one()
    checkpoints = _since(connection, audit_checkpoints, since)
    findings = list[Finding]()
    return Told(
        rows=rows,
        head=head.size,
        frontier=bytes(head.frontier),
        spans=_spans(connection, since, findings),
        checkpoints=checkpoints,
        restores=restores(connection),
        traces=list(_traces(connection, rows, head.size)),
        findings=findings,
    )


def read_before(connection: sa.Connection, since: int) -> Before:
    """What is needed to ask the anchors."""
    query = sa.select(audit_checkpoints.c.note).order_by(audit_checkpoints.c.size.desc()).limit(1)
    return Before(
        connection.execute(query).scalar_one_or_none(), tuple(_since(connection, audit_anchors, since))
    )


def _since(connection: sa.Connection, table: sa.Table, since: int) -> list[sa.Row[Any]]:
    query = sa.select(table).where(table.c.size >= max(since, 1)).order_by(table.c.size)
    return list(connection.execute(query))


def _spans(connection: sa.Connection, since: int, findings: list[Finding]) -> list[Span]:
    """The keys, as the log's own events introduce them."""
    rows = audit_keys.keys(connection)
    try:
        spans = key_history.history(_key_events(connection, [row.since for row in rows]))
    except NoteInvalid as error:
        findings.append(_unknown_key(None, f"the log's own events do not introduce its keys: {error}"))
        return [row.span for row in rows]
    for row in rows:
        if (row.vkey, row.since, row.until) not in ((s.verifier.vkey(), s.since, s.until) for s in spans):
            findings.append(
                _unknown_key(row.since, f"no event of the log says of key {row.id} what audit_keys says")
            )
    for span in spans:
        if not span.vouched and span.since >= since:
            detail = f"key {span.verifier.key_id.hex()} began without the signature of the one before, which was lost: "
            findings.append(
                _unknown_key(span.since, detail + "compare it with the key that its owner publishes")
            )
    return spans


def _key_events(connection: sa.Connection, seqs: list[int]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    query = sa.select(audit_events.c.seq, audit_events.c.body).where(audit_events.c.seq.in_(seqs))
    for seq, data in connection.execute(query.order_by(audit_events.c.seq)):
        try:
            body = json.loads(data)
            kind, after = str(body["type"]), dict(body["after"])
        except (ValueError, LookupError, TypeError):
            raise NoteInvalid(f"event {seq} is not readable") from None
        if kind not in key_history.TYPES:
            raise NoteInvalid(f"event {seq} is about no key")
        yield seq, kind, after


def _unknown_key(seq: int | None, detail: str) -> Finding:
    return Finding(Verdict.UNKNOWN_KEY, seq, None, detail, "audit_keys")


def _traces(connection: sa.Connection, rows: int, head: int) -> Iterator[Trace]:
    """What speaks of events after the last row. A ledger that was put back as a whole has none of it."""
    number = (audit_nodes.c.number + 1) * WIDTH
    known = {
        "audit_head": sa.select(sa.literal(head)),
        "audit_checkpoints": sa.select(sa.func.max(audit_checkpoints.c.size)),
        "audit_anchors": sa.select(sa.func.max(audit_anchors.c.size)),
        "audit_segments": sa.select(sa.func.max(audit_segments.c.seq) + 1),
        "audit_states": sa.select(sa.func.max(audit_states.c.seq) + 1),
        "audit_keys": sa.select(sa.func.max(keys_table.c.since) + 1),
        "audit_nodes": sa.select(sa.func.max(number)).where(audit_nodes.c.level == 1),
    }
    for table, query in known.items():
        size = connection.execute(query).scalar_one() or 0
        if size > rows:
            yield Trace(size, f"{table} speaks of {size:,} events")
    yield from (Trace(None, f"run {id} began and no event says so") for id in _without_beginning(connection))
    yield from (Trace(None, f"run {id} ended and no event says so") for id in _without_end(connection))


def _without_beginning(connection: sa.Connection) -> list[str]:
    query = sa.select(runs.c.id).where(~_has_event("run.started")).order_by(runs.c.started_at.desc())
    return list(connection.execute(query.limit(3)).scalars())


def _without_end(connection: sa.Connection) -> list[str]:
    late = sa.select(runs.c.id).order_by(runs.c.started_at.desc()).limit(_LATE_RUNS).subquery()
    query = sa.select(runs.c.id).where(
        runs.c.id.in_(sa.select(late.c.id)), runs.c.state.in_(_ENDED), ~_has_event("run.ended")
    )
    return list(connection.execute(query.limit(3)).scalars())


def _has_event(type: str) -> sa.Exists:
    return sa.exists().where(audit_events.c.run_id == runs.c.id, audit_events.c.type == type)

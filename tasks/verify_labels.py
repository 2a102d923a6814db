"""What the ledger says came of checks against a person's labels, held against the audit log, in both directions.

Knows ``labels.checked`` events and their table; reads, and repairs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment, parse
from fwd2bot_core.errors import IntegrityError
from infra.database import Ledger
from infra.tables import audit_events, audit_values, collections, compressors, label_checks
from tasks.verify_fidelity import millionths
from tasks.verify_objects import Finding

LABELS_CHECKED = "labels.checked"
_COUNTS = ("questions", "right_answers", "passed", "codec")
_NAMES = {"collection": "collection", "labels": "labels_sha256", "kinds": "kinds"}  # in the log: a column


def check_label_checks(ledger: Ledger) -> Iterator[Finding]:
    """One finding for each check that its event contradicts, and for each check or event without the other."""
    with ledger.read() as connection:  # asked before the log, so the events of all these are in it
        known = set(connection.execute(sa.select(label_checks.c.id)).scalars())
    explained = set[int]()
    for event in _events(ledger):
        row, salts = _row_of(ledger, event, explained)
        if row is None:
            problem = "it says that labels were checked, and the ledger has no such check"
            yield Finding("label check", f"event {event.seq}", problem)
            continue
        explained.add(row.id)
        if wrong := _differences(event, row, salts):
            problem = (
                f"event {event.seq} says another {' and '.join(wrong)}: the table label_checks was altered"
            )
            yield Finding("label check", str(row.id), problem)
    for number in sorted(known - explained):
        problem = "the ledger has this check, and no event says that it was made"
        yield Finding("label check", str(number), problem)


def _events(ledger: Ledger) -> list[sa.Row[Any]]:
    with ledger.read() as connection:
        query = sa.select(audit_events).where(audit_events.c.type == LABELS_CHECKED)
        return list(connection.execute(query.order_by(audit_events.c.seq)))


def _row_of(
    ledger: Ledger, event: sa.Row[Any], explained: set[int]
) -> tuple[sa.Row[Any] | None, dict[str, bytes]]:
    """The check that an event tells of, and the salts of the names in the log. A check is written while the log is
    held, so events and checks of one instant have the same order."""
    names = {"collection": collections.c.name, "compressor": compressors.c.fingerprint}
    query = (
        sa.select(label_checks, *(column.label(name) for name, column in names.items()))
        .join(collections, collections.c.id == label_checks.c.collection_id)
        .join(compressors, compressors.c.id == label_checks.c.compressor_id)
        .where(label_checks.c.checked_at == event.occurred_at)
        .order_by(label_checks.c.id)
    )
    values = sa.select(audit_values.c.ref, audit_values.c.salt).where(audit_values.c.kind.in_(_NAMES))
    with ledger.read() as connection:
        rows = connection.execute(query).all()
        salts = {row.ref: row.salt for row in connection.execute(values)}
    return next((row for row in rows if row.id not in explained), None), salts


def _differences(event: sa.Row[Any], row: sa.Row[Any], salts: Mapping[str, bytes]) -> list[str]:
    """The columns that say something else than the event; a name that was erased from the log says nothing."""
    try:
        body = parse(event.body)
    except IntegrityError:
        return []  # an event that cannot be read is a finding already
    after = body.get("after") or {}
    facts: dict[str, Any] = {name: after.get(name) for name in _COUNTS}
    facts |= {"compressor": body.get("compressor"), "at_least": after.get("at_least_millionths")}
    held = row._asdict() | {"at_least": millionths(row.at_least)}
    refs = {
        "collection": body.get("collection"),
        "labels": (body.get("subject") or {}).get("labels"),
        "kinds": after.get("kinds"),
    }
    return [name for name, said in facts.items() if held[name] != said] + [
        column
        for name, column in _NAMES.items()
        if (salt := salts.get(refs[name] or "")) is not None
        and commitment(salt, name, held[column]) != refs[name]
    ]

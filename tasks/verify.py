"""Scrubbing: are the committed bytes still the committed bytes, and do the tables still say so?

Walks the audit log from its beginning. Each event must give its leaf hash; each object that a
``batch.committed`` event names is read again; the facts about each image must bear the numbers that the
ledger counts; the tables and manifests that people and programs use are held against these, in both
directions. Finds and names; repairs nothing, and never touches an original.
Whoever rewrites the log with all its hashes is caught by what is kept outside of it, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.errors import IntegrityError
from infra.database import Ledger
from infra.objects import ObjectStore
from infra.tables import audit_events, audit_head, audit_segments, shards
from tasks.rewrites import REWRITTEN, Rewrites
from tasks.verify_facts import Facts
from tasks.verify_fidelity import altered_probes
from tasks.verify_labels import check_label_checks
from tasks.verify_manifests import check_manifests
from tasks.verify_moments import Moments
from tasks.verify_objects import NONE, Checked, Finding, Target, check, targets
from tasks.verify_states import check_newest_list

EVENTS_AT_ONCE = 1_000
COMMITTED = "batch.committed"
_ROWS = {"shard": (shards.c.id, shards.c.path), "segment": (audit_segments.c.seq, audit_segments.c.path)}


@dataclass(slots=True)
class Scrub:
    """How much was read, and what was wrong."""

    objects: int = 0
    bytes: int = 0
    events: int = 0
    findings: tuple[Finding, ...] = ()


def verify(
    ledger: Ledger, archive: ObjectStore, *, progress: Callable[[int, int], None] = lambda *_: None
) -> Scrub:
    """Check everything that is committed; ``progress`` is told objects done and objects in all.

    Holds one object at a time, and one number for each row of ``shards``, ``audit_segments`` and ``object_versions``;
    nights may run meanwhile. Raises ``StoreUnreachable`` and ``LedgerError``: what cannot be asked is not known to be
    damaged.
    """
    scrub, findings, moments = Scrub(), list[Finding](), Moments(ledger)
    facts = Facts(ledger, moments.line)
    rewrites = _rewrites(ledger, findings)
    unexplained = _rows(ledger)  # asked before the log, so the events of all these rows are in it
    in_all = sum(map(len, unexplained.values()))
    for found in _walk(ledger, scrub, facts, moments):
        if isinstance(found, Finding):
            findings.append(found)
            continue
        checked = check(ledger, archive, found, rewrites)
        findings += checked.findings
        if found.kind == "shard":
            facts.shard(_numbers(rewrites, found, checked))
        else:
            facts.segment(found, checked.held)
        if checked.row is not None:
            unexplained[found.kind].discard(checked.row)
        scrub.bytes += checked.bytes
        scrub.objects += 1
        progress(scrub.objects, max(scrub.objects, in_all))
    findings += facts.findings
    findings += _without_event(ledger, unexplained)
    findings += (Finding("probes", *altered) for altered in altered_probes(ledger))
    findings += check_label_checks(ledger)
    findings += (Finding("moments", *wrong) for wrong in moments.wrong())
    findings += check_manifests(ledger, archive)
    findings += check_newest_list(ledger, archive)
    scrub.findings = tuple(findings)
    return scrub


def _rewrites(ledger: Ledger, findings: list[Finding]) -> Rewrites:
    """What erasures wrote again; where the log does not say that rightly, every shard is looked for as committed."""
    try:
        with ledger.read() as connection:
            return Rewrites.read(connection)
    except IntegrityError as error:
        findings.append(Finding("event", REWRITTEN, str(error)))
        return NONE


def _numbers(rewrites: Rewrites, shard: Target, checked: Checked) -> list[int] | None:
    """Of the rows that the shard had when it was committed."""
    if checked.held is None:
        return None
    held = [row.object_version_id for row in checked.held]
    return rewrites.numbers(shard.said.path, held) if shard.said.path in rewrites else held


def _rows(ledger: Ledger) -> dict[str, set[int]]:
    with ledger.read() as connection:
        return {kind: set(connection.execute(sa.select(id)).scalars()) for kind, (id, _) in _ROWS.items()}


def _without_event(ledger: Ledger, unexplained: dict[str, set[int]]) -> Iterator[Finding]:
    with ledger.read() as connection:
        for kind, (id, path) in _ROWS.items():
            for number in sorted(unexplained[kind]):
                name = connection.execute(sa.select(path).where(id == number)).scalar_one()
                problem = f"the ledger has this {kind}, and no event says that it was committed"
                yield Finding("ledger", name, problem)


def _walk(ledger: Ledger, scrub: Scrub, facts: Facts, moments: Moments) -> Iterator[Finding | Target]:
    """What is wrong with the log itself, and each object that it names, in the order of the log."""
    before, expected = _size(ledger), 0
    for row in _events(ledger, facts.compare):
        if row.seq != expected:
            yield Finding("event", str(expected), f"missing: the log goes on at {row.seq}")
        if problem := _bad_event(row):
            yield Finding("event", str(row.seq), problem)
        try:
            body = parse(row.body)
            facts.event(body)
            moments.event(body)
            yield from targets(body) if body.get("type") == COMMITTED else ()
        except IntegrityError as error:
            facts.lost()
            if not problem:
                yield Finding("event", str(row.seq), str(error))
        expected = row.seq + 1
        scrub.events += 1
    after = _size(ledger)
    if not before <= expected <= after:  # it may have grown meanwhile
        yield Finding("event", str(expected), f"the log's head says {after} events")


def _size(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return int(connection.execute(sa.select(audit_head.c.size)).scalar_one())


def _events(ledger: Ledger, at_the_end: Callable[[sa.Connection], None]) -> Iterator[sa.Row[Any]]:
    """In pages, each in a short transaction: reading the objects between them may take hours. ``at_the_end`` is given
    the snapshot that shows that there are no more."""
    page = sa.select(audit_events).order_by(audit_events.c.seq).limit(EVENTS_AT_ONCE)
    last = -1
    while True:
        with ledger.read() as connection:
            rows = connection.execute(page.where(audit_events.c.seq > last)).all()
            if not rows:
                at_the_end(connection)
                return
        yield from rows
        last = rows[-1].seq


def _bad_event(row: sa.Row[Any]) -> str | None:
    """Why the event is not what was logged, or its columns do not say what its body says."""
    if leaf_hash(row.body) != row.leaf:
        return "its body does not give its leaf hash"
    try:
        body = parse(row.body)
    except IntegrityError as error:
        return str(error)
    if body.get("seq") != row.seq:
        return f"its body says that it is number {body.get('seq')}"
    columns = {
        "type": row.type,
        "event_id": row.event_id,
        "run_id": row.run_id,
        "occurred_at": rfc3339(row.occurred_at),
    }
    wrong = [name for name, value in columns.items() if body.get(name) != value]
    return f"its columns say another {' and '.join(wrong)} than its body" if wrong else None

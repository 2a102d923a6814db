"""The nightly list: how many facts the audit trail holds about every object version, under one root in the log.

One snapshot of the ledger gives the lines; they are sorted on disk, written to the archive part by part, and named by
one ``state.root`` event. ``tasks.state_proofs`` reads the newest list again. Memory stays flat however many there are.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import Event
from fwd2bot_core.audit.state_list import Manifest, folder_of, manifest_path, write_parts
from fwd2bot_core.audit.states import PACKED_BYTES, SECRET_BYTES, Line, References, State, secret_hash
from infra import audit_log, pairing
from infra.installation import Installation
from infra.objects.named import create_named
from infra.sorted_runs import sorted_records
from infra.tables import (
    WorkState,
    audit_events,
    audit_head,
    audit_states,
    collections,
    object_versions,
    summaries,
    work,
)
from tasks.runs import Run, changing
from tasks.state_proofs import prove_absent, prove_whole

__all__ = ["EVENT", "Taken", "prove_absent", "prove_whole", "state_is_old", "take_state"]

EVENT = "state.root"
ROWS_AT_ONCE = 5_000
_Maker = Callable[[Mapping[str, Any]], Event]


@dataclass(frozen=True, slots=True)
class Taken:
    """A list that was written and logged."""

    seq: int  # of its event
    path: str  # of its manifest in the archive
    sha256: str
    rows: int  # object versions
    facts: int  # numbered ones, about all of them
    root: str
    size: int  # events in the log when the ledger looked so
    seconds: float


def state_is_old(house: Installation) -> bool:
    """Whether there are object versions or facts that the newest list, if there is one, does not know."""
    with house.ledger.read() as connection:
        newest = sa.select(audit_states.c.seq).order_by(audit_states.c.seq.desc()).limit(1).scalar_subquery()
        body = connection.execute(sa.select(audit_events.c.body).where(audit_events.c.seq == newest)).scalar()
        told = parse(body)["after"] if body is not None else {"rows": 0, "facts": 0}
        counts = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(object_versions.c.facts), 0))
        rows, facts = connection.execute(counts.select_from(object_versions)).one()
    return (int(rows), int(facts)) != (told["rows"], told["facts"])


def take_state(house: Installation, by: Run | str = "operator") -> Taken:
    """Write a list of the ledger as it is now, and log its root; ``by`` is a run, or the role of who asked.

    Raises ``LeaseLost`` for a run that lost its lease, ``IntegrityError`` when the archive is not this ledger's, and
    what store and ledger raise; then nothing is logged, and what was written means nothing.
    """
    begun = time.perf_counter()
    secret = secrets.token_bytes(SECRET_BYTES)
    with _logging(house, by) as (connection, _):
        pairing.check(connection, house.archive)
    night = _night(house, by)
    manifest = _write_list(house, folder_of(night, secret_hash(secret)), secret)
    body = manifest.encode()
    sha256 = hashlib.sha256(body).hexdigest()
    path = manifest_path(night, manifest.root, sha256)
    create_named(house.archive, path, body)
    with _logging(house, by) as (connection, event):
        house.archive.stat(path)
        said: dict[str, Any] = {"path": path, "sha256": sha256, "rows": manifest.rows, "root": manifest.root}
        more = {"facts": manifest.facts, "size": manifest.size, "secret_sha256": manifest.secret_sha256}
        seq = audit_log.append(connection, event(said | more))
        connection.execute(audit_states.insert().values(seq=seq, secret=secret, **said))
    return Taken(
        seq=seq, **said, facts=manifest.facts, size=manifest.size, seconds=time.perf_counter() - begun
    )


def _write_list(house: Installation, folder: str, secret: bytes) -> Manifest:
    parts = []
    with house.ledger.read() as connection:
        size = int(connection.execute(sa.select(audit_head.c.size)).scalar_one())
        packed = (line.pack() for line in _lines(connection, References(secret)))
        for part, body in write_parts(map(Line.unpack, sorted_records(packed, PACKED_BYTES)), folder):
            create_named(house.archive, part.path, body)
            parts.append(part)
    return Manifest.over(parts, size, secret_hash(secret))


def _lines(connection: sa.Connection, references: References) -> Iterator[Line]:
    """A line for each object version of the ledger, in no order."""
    names = {row.id: row.name for row in connection.execute(sa.select(collections.c.id, collections.c.name))}
    known = object_versions.c
    compressed = sa.exists().where(summaries.c.object_version_id == known.id)
    failed = sa.exists().where(work.c.object_version_id == known.id, work.c.state == WorkState.FAILED)
    destroyed = known.destroyed_seq.is_not(None)
    state = sa.case(
        (destroyed, State.DESTROYED), (compressed, State.COMPRESSED), (failed, State.FAILED), else_=State.NEW
    )
    gone = known.superseded_at.is_not(None)
    query = sa.select(known.collection_id, known.key, known.identity, known.facts, state, gone)
    streamed = connection.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE)
    for collection, key, identity, facts, word, superseded in streamed.execute(query):
        ref = references.version(names[collection], key, identity)
        yield Line(ref, facts, State(word), bool(superseded))


@contextmanager
def _logging(house: Installation, by: Run | str) -> Iterator[tuple[sa.Connection, _Maker]]:
    """A write transaction that holds the log's head, and what makes the event of it."""
    if isinstance(by, Run):
        with changing(house.ledger, by) as connection:
            yield connection, lambda after: by.event(EVENT, after=after)
        return
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        actor = audit_log.actor(connection, by)
        yield (
            connection,
            lambda after: Event(type=EVENT, occurred_at=audit_log.now(), actor=actor, after=after),
        )


def _night(house: Installation, by: Run | str) -> date:
    zone = ZoneInfo(house.settings.night.zone)
    return by.night if isinstance(by, Run) else audit_log.now().astimezone(zone).date()

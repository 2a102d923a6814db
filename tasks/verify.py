"""Scrubbing: are the committed bytes still the committed bytes?

Reads every committed shard and audit segment again and holds hash, row count and Merkle root against the
ledger. Finds and names; repairs nothing, and never touches an original.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.segment import read_segment, verify_subroot
from fwd2bot_core.errors import IntegrityError, StoreError, StoreUnreachable
from fwd2bot_core.tokens.shard import read_rows, read_spec
from infra.database import Ledger
from infra.objects import ObjectStore
from infra.tables import audit_events, audit_head, audit_segments, compressors, shards

EVENTS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not what was committed."""

    what: str  # "shard", "segment" or "event"
    name: str
    problem: str


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

    Raises ``StoreUnreachable`` and ``LedgerError``: what cannot be asked is not known to be damaged.
    """
    scrub = Scrub()
    targets = _targets(ledger)
    for done, (kind, row) in enumerate(targets, start=1):
        try:
            data = archive.read(row.path)
            scrub.bytes += len(data)
            _CHECKS[kind](row, data)
        except StoreUnreachable:
            raise  # it says nothing about what is stored
        except (IntegrityError, StoreError) as error:
            scrub.findings += (Finding(kind, row.path, str(error)),)
        scrub.objects += 1
        progress(done, len(targets))
    for finding in _bad_events(ledger, scrub):
        scrub.findings += (finding,)
    return scrub


def _targets(ledger: Ledger) -> list[tuple[str, sa.Row]]:  # type: ignore[type-arg]
    with ledger.read() as connection:
        found = connection.execute(
            sa.select(shards, compressors.c.fingerprint)
            .join(compressors, compressors.c.id == shards.c.compressor_id)
            .order_by(shards.c.id)
        ).all()
        segments = connection.execute(sa.select(audit_segments).order_by(audit_segments.c.seq)).all()
    return [("shard", row) for row in found] + [("segment", row) for row in segments]


def _check_hash(row: sa.Row, data: bytes) -> None:  # type: ignore[type-arg]
    digest = hashlib.sha256(data).hexdigest()
    if digest != row.sha256:
        raise IntegrityError(
            f"{len(data):,} bytes with sha256 {digest[:16]}, committed were {row.bytes:,} with {row.sha256[:16]}. "
            "Restore it from a backup or another version, then verify again."
        )


def _check_shard(row: sa.Row, data: bytes) -> None:  # type: ignore[type-arg]
    _check_hash(row, data)
    found = read_spec(io.BytesIO(data)).fingerprint
    if found != row.fingerprint:
        raise IntegrityError(f"made by compressor {found[:12]}, the ledger says {row.fingerprint[:12]}")
    if len(read_rows(io.BytesIO(data))) != row.rows:
        raise IntegrityError(f"the ledger counts {row.rows} rows, the file does not")


def _check_segment(row: sa.Row, data: bytes) -> None:  # type: ignore[type-arg]
    _check_hash(row, data)
    verify_subroot(data, row.subroot)
    if len(read_segment(data)) != row.rows:
        raise IntegrityError(f"the ledger counts {row.rows} lines, the file does not")


_CHECKS = {"shard": _check_shard, "segment": _check_segment}


def _bad_events(ledger: Ledger, scrub: Scrub) -> Iterator[Finding]:
    """Gaps in the numbers, and bodies that give another leaf hash or number than their row."""
    with ledger.read() as connection:
        size = connection.execute(sa.select(audit_head.c.size)).scalar_one()
        expected = 0
        rows = connection.execution_options(yield_per=EVENTS_AT_ONCE).execute(
            sa.select(audit_events.c.seq, audit_events.c.body, audit_events.c.leaf).order_by(
                audit_events.c.seq
            )
        )
        for row in rows:
            if row.seq != expected:
                yield Finding("event", str(expected), f"missing: the log goes on at {row.seq}")
            if problem := _bad_event(row):
                yield Finding("event", str(row.seq), problem)
            expected = row.seq + 1
            scrub.events += 1
        if expected != size:
            yield Finding("event", str(expected), f"the log's head says {size} events")


def _bad_event(row: sa.Row) -> str | None:  # type: ignore[type-arg]
    if leaf_hash(row.body) != row.leaf:
        return "its body does not give its leaf hash"
    try:
        said = parse(row.body).get("seq")
    except IntegrityError as error:
        return str(error)
    return None if said == row.seq else f"its body says that it is number {said}"

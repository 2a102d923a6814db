"""The beginning and the end of a run: its lease, its row, its audit events.

Knows nothing about what happens in between.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

import fwd2bot_core
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.compressor.protocol import CompressorSpec
from infra import audit_log, leases, pairing
from infra.crashpoints import reach
from infra.database import Ledger
from infra.installation import Installation
from infra.tables import RunState, collections, compressors, runs
from tasks.summary import NightSummary

NIGHTS = "collection:"  # slots of nights and retries begin so


@dataclass(frozen=True, slots=True)
class Run:
    """One run that holds the lease of its collection."""

    id: str
    kind: str  # "night", "retry", "backfill" or "edge"
    collection: str
    collection_id: int
    compressor_id: int
    spec: CompressorSpec
    night: date  # the date, in the night's zone, that names partitions
    lease: leases.Lease
    actor: Actor
    collection_ref: str  # what stands for the collection's name in the audit log

    def event(self, type: str, **fields: object) -> Event:
        """An audit event of this run."""
        return Event(
            type=type,
            occurred_at=audit_log.now(),
            actor=self.actor,
            run_id=self.id,
            collection=self.collection_ref,
            compressor=self.spec.fingerprint,
            **fields,  # type: ignore[arg-type]
        )


@contextmanager
def changing(ledger: Ledger, run: Run) -> Iterator[sa.Connection]:
    """A write transaction in which a run changes something and logs it. Raises ``LeaseLost``.

    The log's head first, then the lease: whoever begins a run takes them in this order too, and two that each wait
    for what the other holds would both be thrown out.
    """
    with ledger.write() as connection:
        audit_log.hold(connection)
        leases.check(connection, run.lease)
        yield connection


def begin(
    installation: Installation,
    collection: str,
    kind: str = "night",
    *,
    role: str = "operator",
    slot: str | None = None,
    actor: Actor | None = None,
) -> Run:
    """Take the lease and write the run down, in one transaction. ``role``: in which this process acts; ``slot``: what
    only one run may hold, for a kind that works beside the collection's nights; ``actor``: a person who has it done.

    Raises ``LeaseHeld`` when another run works on the collection, ``IntegrityError`` when the ledger is not the
    archive's, or is older than it.
    """
    settings = installation.settings
    started = audit_log.now()
    _, source = settings.collection(collection)
    place = {"originals": source.originals, "prefix": source.prefix}
    night = started.astimezone(ZoneInfo(settings.night.zone)).date()
    run_id = f"{kind}-{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    with installation.ledger.write() as connection:
        audit_log.hold(connection)  # runs of several collections may begin at once
        pairing.check(connection, installation.archive)
        wanted = slot or f"{NIGHTS}{collection}"
        lease = leases.take(connection, installation.ledger, wanted, run_id, settings.night.lease_seconds)
        run = Run(
            id=run_id,
            kind=kind,
            collection=collection,
            collection_id=_register_collection(connection, collection, place, started),
            compressor_id=_register_compressor(connection, installation.spec(collection), started),
            spec=installation.spec(collection),
            night=night,
            lease=lease,
            actor=actor or audit_log.actor(connection, role),
            collection_ref=audit_log.reference(connection, "collection", collection),
        )
        _note_place(connection, run, place)
        if lease.predecessor is not None:
            _abandon(connection, run, lease.predecessor, started)
        _insert(connection, run, started)
        audit_log.append(
            connection, run.event("run.started", subject={"kind": kind, "fencing": lease.fencing})
        )
    reach("driver.run-begun")
    _tell_archive(installation)  # before the first shard, and never before the ledger holds what it is told
    return run


def _insert(connection: sa.Connection, run: Run, started: datetime) -> None:
    connection.execute(
        runs.insert().values(
            id=run.id,
            kind=run.kind,
            collection_id=run.collection_id,
            compressor_id=run.compressor_id,
            state=RunState.RUNNING,
            fencing=run.lease.fencing,
            night=run.night,
            started_at=started,
            host=socket.gethostname(),
            pid=os.getpid(),
            software=f"fwd2bot {fwd2bot_core.__version__}",
        )
    )


def end(installation: Installation, run: Run, summary: NightSummary) -> None:
    """Write the summary down and give the lease back."""
    _tell_archive(installation)
    with changing(installation.ledger, run) as connection:
        _close(
            connection,
            run.id,
            summary.state,
            audit_log.now(),
            summary=summary.to_record(),
            message=summary.message,
        )
        audit_log.append(
            connection,
            run.event(
                "run.ended",
                after={
                    "state": str(summary.state),
                    "compressed": summary.compressed,
                    "failed": summary.failed,
                    "left": summary.left,
                },
            ),
        )
        leases.release(connection, run.lease)
    reach("driver.run-ended")


def fail(installation: Installation, run: Run, error: BaseException) -> None:
    """Close a run that could not finish; what it committed stays, what it claimed is resumed by the next."""
    with installation.ledger.write() as connection:
        state = connection.execute(sa.select(runs.c.state).where(runs.c.id == run.id)).scalar_one()
        if state != RunState.RUNNING:
            return
        _close(
            connection, run.id, RunState.FAILED, audit_log.now(), message=f"{type(error).__name__}: {error}"
        )
        audit_log.append(
            connection,
            run.event("run.ended", after={"state": str(RunState.FAILED)}, reason_code=type(error).__name__),
        )
        leases.release(connection, run.lease)


def _tell_archive(installation: Installation) -> None:
    """In a transaction of its own: an archive that knew of an event whose transaction then failed would refuse its
    own ledger for ever."""
    with installation.ledger.write() as connection:
        pairing.record(connection, installation.archive)


def _register_collection(connection: sa.Connection, name: str, place: dict[str, str], at: datetime) -> int:
    """The ledger's number for a collection of the settings."""
    found = connection.execute(
        sa.select(collections.c.id).where(collections.c.name == name)
    ).scalar_one_or_none()
    if found is not None:
        return int(found)
    made = collections.insert().values(name=name, registered_at=at, **place).returning(collections.c.id)
    return int(connection.execute(made).scalar_one())


def _note_place(connection: sa.Connection, run: Run, place: dict[str, str]) -> None:
    """A collection that is read from another place than before is worth an event."""
    mine = collections.c.id == run.collection_id
    before = connection.execute(sa.select(collections.c.originals, collections.c.prefix).where(mine)).one()
    if dict(before._mapping) == place:
        return
    connection.execute(collections.update().where(mine).values(**place))
    was, now = (
        {name: audit_log.reference(connection, name, value) for name, value in there.items()}
        for there in (before._mapping, place)
    )
    audit_log.append(connection, run.event("collection.moved", before=was, after=now))


def _register_compressor(connection: sa.Connection, spec: CompressorSpec, at: datetime) -> int:
    found = connection.execute(
        sa.select(compressors.c.id).where(compressors.c.fingerprint == spec.fingerprint)
    ).scalar_one_or_none()
    if found is not None:
        return int(found)
    made = connection.execute(
        compressors.insert()
        .values(
            fingerprint=spec.fingerprint,
            name=spec.name,
            k=spec.k,
            d=spec.d,
            dtype=spec.dtype,
            token_bytes=spec.token_bytes,
            registered_at=at,
        )
        .returning(compressors.c.id)
    )
    return int(made.scalar_one())


def _abandon(connection: sa.Connection, run: Run, predecessor: str, at: datetime) -> None:
    """The run whose lease was taken over will not end by itself."""
    _close(connection, predecessor, RunState.ABANDONED, at, message=f"its process died; {run.id} took over")
    audit_log.append(connection, run.event("run.taken-over", subject={"run_id": predecessor}))


def _close(
    connection: sa.Connection, run_id: str, state: RunState, at: datetime, **values: str | None
) -> None:
    connection.execute(
        runs.update()
        .where(runs.c.id == run_id, runs.c.state == RunState.RUNNING)
        .values(state=state, ended_at=at, **values)
    )

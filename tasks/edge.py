"""The server's half of compressing at the line: registers files that stay there, hands out batches, commits receipts.

A run of its own kind, in the slot of the collection's nights, by whoever's token it is; a line that was killed asks
again and goes on in its run. What is uploaded is believed by no more than a worker's receipt is, and looked at more
closely, since it comes from elsewhere. Knows nothing of HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from fwd2bot_core.errors import LeaseLost, UsageError
from fwd2bot_core.retention.roles import Act
from fwd2bot_core.work import Batch, Receipt
from infra import audit_log, leases
from infra.edge_upload import require_same
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.objects.edge import SCHEME
from infra.objects.named import create_named
from infra.settings import Settings
from infra.tables import BatchState, RunState, audit_events, batches, collections, compressors, runs
from infra.tables import leases as leases_table
from tasks import people
from tasks import runs as running
from tasks.checkpoint import sign
from tasks.commit import commit
from tasks.discover import Discovery, discover
from tasks.people import Person
from tasks.plan import planned_batches, write_plan
from tasks.publish import publish
from tasks.runs import NIGHTS, Run
from tasks.search_index import keep_index, wanted
from tasks.summary import NightSummary, count

KIND = "edge"
_FACTS = 4_000  # bytes that an image takes in a request beside its tokens and its vector, generously


@dataclass(frozen=True, slots=True)
class Given:
    """What is to be done next; no batch: nothing."""

    run: Run
    new: int
    batch: Batch | None


@dataclass(frozen=True, slots=True)
class _Told:
    """Files as a line lists them, for ``discover``."""

    uri: str
    files: Sequence[ObjectInfo]

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (one for one in self.files if one.key.startswith(prefix))


def hand_out(
    house: Installation, name: str, collection: str, fingerprint: str, files: Sequence[ObjectInfo]
) -> Given:
    """Register what is new of ``files``, and give the oldest batch that is planned.

    Raises ``AccessDenied``, ``LeaseHeld`` while somebody else works on the collection, ``UsageError`` for a collection
    whose originals do not stay at a line, or for another compressor than the settings have.
    """
    person = _permitted(house, name, collection)
    if fingerprint != house.spec(collection).fingerprint:
        raise UsageError(
            f"the line has compressor {fingerprint[:12]}, and {collection} is compressed by "
            f"{house.spec(collection).short}: install the same bundle, with the same view, there"
        )
    run, begun = _run(house, person, collection)
    found = Discovery()
    if files:
        _, source = house.settings.collection(collection)
        told = _Told(source.originals, files)
        found = discover(house.ledger, told, run.collection_id, run=run, whole=False)
    batch = next(planned_batches(house.ledger, run), None)
    if batch is None and (begun or found.new):
        write_plan(house.ledger, run, _small_enough(house.settings, run))
        batch = next(planned_batches(house.ledger, run), None)
    return Given(run, found.new, batch)


def take_in(
    house: Installation,
    name: str,
    collection: str,
    lease: tuple[str, int],
    receipt: Receipt,
    shard: bytes | None,
    segment: bytes,
) -> bool:
    """Write what was uploaded, create-only, and commit it; False if that was done before.

    ``lease``: run and fencing number, as they were handed out. Raises ``LeaseLost`` for those of another run by now,
    ``UsageError`` for bytes that are not what the receipt says, and what ``commit`` raises.
    """
    person = _permitted(house, name, collection)
    run = _going_on(house, person, collection)
    if _committed(house, receipt.batch_id):
        return False
    if run is None or (run.id, run.lease.fencing) != lease:
        raise LeaseLost(
            f"run {lease[0]} is over, or another one took over {collection}; ask for a batch again"
        )
    leases.renew(house.ledger, run.lease)
    planned = (one for one in planned_batches(house.ledger, run) if one.batch_id == receipt.batch_id)
    batch = next(planned, None)
    if batch is None:
        raise UsageError(f"batch {receipt.batch_id[:32]!r} is not of run {run.id}; ask for a batch again")
    require_same(run.spec, batch, receipt, shard, segment)
    if receipt.shard is not None and shard is not None:
        create_named(house.archive, receipt.shard.path, shard)
    create_named(house.archive, receipt.segment.path, segment)
    commit(house.ledger, house.archive, run, batch, receipt)
    return True


def finish(house: Installation, name: str, collection: str, *, listed: int) -> NightSummary | None:
    """End the run as a night is ended: listed, summed up, signed. None if there is none, or it is over.
    ``listed``: files that the line saw."""
    person = _permitted(house, name, collection)
    run = _going_on(house, person, collection)
    if run is None:
        return None
    publish(house.ledger, house.archive, run)
    if wanted(house, collection):
        keep_index(house, collection)
    _, source = house.settings.collection(collection)
    summary = NightSummary(
        run_id=run.id,
        collection=collection,
        kind=KIND,
        night=run.night.isoformat(),
        compressor=run.spec.short,
        listed=listed,
        **count(house.ledger, run.id, source.fidelity.threshold),
    )
    running.end(house, run, summary)
    sign(house, reason="run_ended", role=person.actor().role)
    return summary


def _permitted(house: Installation, name: str, collection: str) -> Person:
    person = people.permitted(house.ledger, name, Act.COMPRESS_AT_LINE, collection)
    _, source = house.settings.collection(collection)
    if not source.originals.startswith(f"{SCHEME}://"):
        raise UsageError(
            f"the originals of {collection} lie in a store, and nights compress them there. A collection of a line has "
            f'originals = "{SCHEME}://NAME"'
        )
    return person


def _run(house: Installation, person: Person, collection: str) -> tuple[Run, bool]:
    """The person's run, and whether it began just now."""
    mine = _going_on(house, person, collection)
    if mine is None:
        return running.begin(house, collection, KIND, actor=person.actor()), True
    leases.renew(house.ledger, mine.lease)
    return mine, False


def _going_on(house: Installation, person: Person, collection: str) -> Run | None:
    """The run on that collection, if this person began it and nobody took over since."""
    spec, slot = house.spec(collection), f"{NIGHTS}{collection}"
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        row = connection.execute(
            sa.select(runs)
            .join(leases_table, leases_table.c.run_id == runs.c.id)
            .join(compressors, compressors.c.id == runs.c.compressor_id)
            .join(collections, collections.c.id == runs.c.collection_id)
            .where(
                leases_table.c.slot == slot,
                leases_table.c.fencing == runs.c.fencing,
                runs.c.kind == KIND,
                runs.c.state == RunState.RUNNING,
                compressors.c.fingerprint == spec.fingerprint,
            )
        ).one_or_none()
        if row is None or _beginner(connection, row.id) != person.ref:
            return None
        return Run(
            id=row.id,
            kind=KIND,
            collection=collection,
            collection_id=row.collection_id,
            compressor_id=row.compressor_id,
            spec=spec,
            night=row.night,
            lease=leases.Lease(slot, row.id, row.fencing),
            actor=person.actor(),
            collection_ref=audit_log.reference(connection, "collection", collection),
        )


def _beginner(connection: sa.Connection, run_id: str) -> str | None:
    """Who began a run, as the log says."""
    body = connection.execute(
        sa.select(audit_events.c.body).where(
            audit_events.c.run_id == run_id, audit_events.c.type == "run.started"
        )
    ).scalar()
    return None if body is None else str(json.loads(body)["actor"]["ref"])


def _committed(house: Installation, batch_id: str) -> bool:
    with house.ledger.read() as connection:
        state = connection.execute(sa.select(batches.c.state).where(batches.c.id == batch_id)).scalar()
    return state == BatchState.COMMITTED


def _small_enough(settings: Settings, run: Run) -> Settings:
    """Batches whose receipts fit into a request, in base64."""
    image = (run.spec.token_bytes + 4 * run.spec.d + _FACTS) * 4 // 3
    most = max(1, settings.service.body_bytes // image)
    size = min(settings.night.batch_size, most)
    return settings.model_copy(update={"night": settings.night.model_copy(update={"batch_size": size})})

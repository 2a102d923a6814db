"""The only place where compressed images become visible: one transaction a batch.

Shard row, image rows, failures, metrics and audit event commit together or not at all; what is not
committed does not exist. Checks first that the shard really lies there, and inside the transaction that
this run may still commit and that the segment's lines bear the next numbers of their images.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import IntegrityError, RejectReason
from fwd2bot_core.tokens.codec import row_bytes
from fwd2bot_core.tokens.fidelity import probes_sha256
from fwd2bot_core.work import Batch, ImageFact, Receipt, Reject, SegmentFact, ShardFact
from infra import audit_log, leases
from infra.crashpoints import reach
from infra.database import Ledger
from infra.objects import ObjectStore
from infra.table_types import among
from infra.tables import (
    BatchState,
    WorkState,
    audit_segments,
    batches,
    failures,
    probe_sets,
    shards,
    summaries,
    work,
)
from tasks import contents, facts, moments
from tasks.runs import Run, changing


def commit(ledger: Ledger, archive: ObjectStore, run: Run, batch: Batch, receipt: Receipt) -> None:
    """Make one batch's work visible.

    Raises ``LeaseLost`` when another run took over, ``ObjectMissing`` or ``IntegrityError`` when an object is not
    there or not what the receipt says, or when the segment's numbers are not the next ones of its images any more;
    then nothing is committed.
    """
    reach("driver.receipt-received")
    objects = _objects(receipt)
    for fact in objects:
        _must_lie_there(archive, fact.path, fact.sha256)
    with changing(ledger, run) as connection:
        if not _close_batch(connection, run, receipt):
            return  # committed already: this is the second receipt of a batch that ran twice
        facts.count(connection, batch, contents.write(connection, receipt))
        moments.write(connection, receipt)
        if receipt.shard is not None:
            _write_shard(connection, run, batch, receipt, _probe_set(connection, receipt.probes))
        _write_failures(connection, run, batch, receipt)
        seq = audit_log.append(connection, run.event("batch.committed", after=_proof(batch, receipt)))
        _write_segment(connection, seq, batch, receipt.segment)
        # A sweep holds the log's head too while it deletes: what is there now stays.
        for fact in objects:
            archive.stat(fact.path)
    reach("driver.shard-committed")


def quarantine(ledger: Ledger, run: Run, batch: Batch, detail: str) -> None:
    """Record a single unit that kills every worker that holds it. There is no receipt: nobody lived to write one."""
    (unit,) = batch.units
    reject = Reject(RejectReason.KILLED_WORKER, detail)
    fact = ImageFact(unit.object_version_id, None, None, None, None, None, None, reject)
    with changing(ledger, run) as connection:
        connection.execute(
            batches.update()
            .where(batches.c.id == batch.batch_id)
            .values(state=BatchState.COMMITTED, finished_at=audit_log.now(), error=detail)
        )
        _fail(connection, run, batch, [fact])
        audit_log.append(
            connection,
            run.event(
                "image.quarantined",
                subject={"batch_id": batch.batch_id} | facts.subject(connection, unit),
                reason_code=str(reject.reason),
            ),
        )


def note_broken(ledger: Ledger, run: Run, batch: Batch, error: Exception) -> None:
    """Say why a batch stays planned; the next night resumes it."""
    with ledger.write() as connection:
        leases.check(connection, run.lease)
        connection.execute(
            batches.update()
            .where(batches.c.id == batch.batch_id)
            .values(error=f"{type(error).__name__}: {error}")
        )


def _objects(receipt: Receipt) -> list[ShardFact | SegmentFact]:
    return [receipt.segment] if receipt.shard is None else [receipt.shard, receipt.segment]


def _must_lie_there(archive: ObjectStore, path: str, sha256: str) -> None:
    found = archive.sha256(path)
    if found != sha256:
        raise IntegrityError(
            f"{path} in {archive.uri} holds {found}, the receipt says {sha256}; it is not committed"
        )


def _close_batch(connection: sa.Connection, run: Run, receipt: Receipt) -> bool:
    closed = connection.execute(
        batches.update()
        .where(
            batches.c.id == receipt.batch_id,
            batches.c.run_id == run.id,
            batches.c.state == BatchState.PLANNED,
        )
        .values(
            state=BatchState.COMMITTED,
            finished_at=audit_log.now(),
            error=None,
            worker=receipt.worker,
            bytes_in=receipt.bytes_in,
            bytes_out=receipt.bytes_out,
            **{f"{stage}_seconds": seconds for stage, seconds in asdict(receipt.stages).items()},
        )
    )
    return bool(closed.rowcount)


def _probe_set(connection: sa.Connection, probes: tuple[str, ...]) -> int | None:
    """The ledger's number for these questions; None if there are none."""
    if not probes:
        return None
    sha256 = probes_sha256(probes)
    found = connection.execute(sa.select(probe_sets.c.id).where(probe_sets.c.sha256 == sha256)).scalar()
    if found is None:
        made = probe_sets.insert().values(sha256=sha256, questions=json.dumps(probes, ensure_ascii=False))
        found = connection.execute(made.returning(probe_sets.c.id)).scalar_one()
    return int(found)


def _write_shard(
    connection: sa.Connection, run: Run, batch: Batch, receipt: Receipt, probe_set: int | None
) -> None:
    shard = receipt.shard
    assert shard is not None
    compressed = [image for image in receipt.images if image.row is not None]
    shard_id = connection.execute(
        shards.insert()
        .values(
            path=shard.path,
            batch_id=batch.batch_id,
            collection_id=run.collection_id,
            compressor_id=run.compressor_id,
            run_id=run.id,
            night=batch.night,
            sha256=shard.sha256,
            bytes=shard.size,
            rows=shard.rows,
            codec=shard.codec,
            committed_at=audit_log.now(),
        )
        .returning(shards.c.id)
    ).scalar_one()
    connection.execute(
        summaries.insert(),
        [
            {
                "object_version_id": image.object_version_id,
                "compressor_id": run.compressor_id,
                "shard_id": shard_id,
                "row": image.row,
                "source_bytes": image.size,
                "token_bytes": row_bytes(run.spec, shard.codec),
                "fidelity": image.fidelity.score if image.fidelity else None,
                "worst_probe": image.fidelity.worst if image.fidelity else None,
                "probe_set_id": probe_set if image.chosen or image.fidelity else None,
            }
            for image in compressed
        ],
    )
    ids = [image.object_version_id for image in compressed]
    connection.execute(
        work.update()
        .where(work.c.compressor_id == run.compressor_id, among(connection, work.c.object_version_id, ids))
        .values(state=WorkState.COMPRESSED)
    )
    connection.execute(
        failures.update()
        .where(
            among(connection, failures.c.object_version_id, ids),
            failures.c.compressor_id == run.compressor_id,
            failures.c.resolved_at.is_(None),
        )
        .values(resolved_at=audit_log.now())
    )


def _write_failures(connection: sa.Connection, run: Run, batch: Batch, receipt: Receipt) -> None:
    rejected = [image for image in receipt.images if image.reject is not None]
    if rejected:
        _fail(connection, run, batch, rejected)


def _fail(connection: sa.Connection, run: Run, batch: Batch, images: list[ImageFact]) -> None:
    connection.execute(
        failures.insert(),
        [
            {
                "object_version_id": image.object_version_id,
                "compressor_id": run.compressor_id,
                "run_id": run.id,
                "batch_id": batch.batch_id,
                "reason": str(image.reject.reason),
                "detail": image.reject.detail,
                "failed_at": audit_log.now(),
            }
            for image in images
            if image.reject is not None
        ],
    )
    connection.execute(
        work.update()
        .where(work.c.compressor_id == run.compressor_id, work.c.object_version_id == sa.bindparam("unit"))
        .values(state=WorkState.FAILED, reason=sa.bindparam("why"), failures=work.c.failures + 1),
        [
            {"unit": image.object_version_id, "why": str(image.reject.reason)}
            for image in images
            if image.reject is not None
        ],
    )


def _write_segment(connection: sa.Connection, seq: int, batch: Batch, segment: SegmentFact) -> None:
    connection.execute(
        audit_segments.insert().values(
            seq=seq,
            batch_id=batch.batch_id,
            path=segment.path,
            sha256=segment.sha256,
            bytes=segment.size,
            rows=segment.rows,
            subroot=segment.subroot,
        )
    )


def _proof(batch: Batch, receipt: Receipt) -> dict[str, Any]:
    """What the audit event says: enough to find and check every object of the batch, and no name."""
    segment = receipt.segment
    said: dict[str, Any] = {
        "batch_id": batch.batch_id,
        "segment": {
            "path": segment.path,
            "sha256": segment.sha256,
            "bytes": segment.size,
            "rows": segment.rows,
            "subroot": segment.subroot,
        },
        "rejected": sum(image.reject is not None for image in receipt.images),
    }
    if receipt.shard is not None:
        shard = receipt.shard
        said["shard"] = {"path": shard.path, "sha256": shard.sha256, "bytes": shard.size, "rows": shard.rows}
    return said

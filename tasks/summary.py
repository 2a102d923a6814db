"""What a run did, in one object: the screen, the Prefect artifact, the report and the ledger all show this.

Counted from the ledger, not from what the driver remembers, so that a resumed night counts right.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import ExitCode
from fwd2bot_core.work import STAGES
from infra.database import Ledger
from infra.scores import Scores, scores, unjudged
from infra.tables import (
    FAILED,
    BatchState,
    RunState,
    batches,
    failures,
    object_versions,
    runs,
    shards,
    work,
)

NAMING = {"collection", "message"}  # fields with a name in them; the run's row has both
NAMED = 20  # failures named in a summary; all of them are in the ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFailure:
    """One image that was not compressed, and why."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """Whether the audit log was signed at the end of the run, and who keeps the checkpoint."""

    signed: int | None = None  # events that the newest checkpoint covers; None: the log was not signed
    anchors: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # by anchor: why it does not have the checkpoint
    problem: str | None = None  # why the log was not signed
    contradiction: bool = False  # it is not signed because it is not what was signed before

    @property
    def message(self) -> str | None:
        """One sentence; None when all is well."""
        if self.problem is not None:
            return f"audit log NOT SIGNED, its new events are NOT YET ANCHORED: {self.problem}"
        if self.failed:
            return "audit log NOT YET ANCHORED at " + "; ".join(
                f"{k} ({why})" for k, why in self.failed.items()
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NightSummary:
    """Sizes in bytes, times in seconds. ``left`` are claimed images that the next night resumes."""

    run_id: str
    collection: str
    kind: str
    night: str
    compressor: str
    listed: int = 0
    new: int = 0
    superseded: int = 0
    resumed_batches: int = 0
    compressed: int = 0
    failed: int = 0
    left: int = 0
    shards: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    wall_seconds: float = 0.0
    compress_seconds: float = 0.0  # from the first batch to the last commit, workers being up
    stage_seconds: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[NamedFailure] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # batches that a store or the model failed, and why
    orphans_swept: int = 0
    orphans_kept: int = 0  # the store did not let them go
    open_failures: int = 0  # images of this collection that this or an earlier run could not compress
    fidelity: Scores | None = None  # None: no image of this run was judged
    unjudged: int = 0  # images that were chosen to be judged, and could not be
    closed: str | None = None  # why images are left although nothing is wrong: the window's hours are over
    audit: Anchored | None = None  # known once the run is over; never in the ledger's record of the run

    @property
    def state(self) -> RunState:
        """Completed only if nothing failed and nothing is left."""
        if not self.failed and not self.left:
            return RunState.COMPLETED
        partly = self.compressed or self.failed or self.closed
        return RunState.PARTLY_FAILED if partly else RunState.FAILED

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with."""
        if any(problem.startswith("IntegrityError") for problem in self.broken):
            return ExitCode.INTEGRITY
        if self.audit is not None and self.audit.contradiction:
            return ExitCode.INTEGRITY
        codes = {RunState.COMPLETED: ExitCode.OK, RunState.PARTLY_FAILED: ExitCode.PARTLY_FAILED}
        return codes.get(self.state, ExitCode.FAILED)

    @property
    def ratio(self) -> float:
        """Bytes of originals for each byte stored; 0 when nothing was compressed."""
        return self.bytes_in / self.bytes_out if self.compressed and self.bytes_out else 0.0

    @property
    def images_per_second(self) -> float:
        """Images compressed a second while compressing."""
        return self.compressed / self.compress_seconds if self.compress_seconds else 0.0

    @property
    def message(self) -> str:
        """One sentence for a log line."""
        said = self.audit.message if self.audit is not None else None
        return f"{self._done}; {said}" if said else self._done

    @property
    def _done(self) -> str:
        if not (self.compressed or self.failed or self.left):
            still = (
                f"; {self.open_failures:,} failed before and wait for a retry" if self.open_failures else ""
            )
            return f"nothing new among {self.listed:,} images of {self.collection}{still}"
        parts = [f"{self.compressed:,} compressed"]
        if self.failed:
            parts.append(f"{self.failed:,} failed ({', '.join(f'{k} {v}' for k, v in self.reasons.items())})")
        if self.left:
            why = f" ({self.closed})" if self.closed else ""
            parts.append(f"{self.left:,} left for the next night{why}")
        if self.fidelity is not None and self.fidelity.below:
            low = self.fidelity
            parts.append(f"{low.below:,} of {low.judged:,} judged below fidelity {low.threshold:g}")
        if self.unjudged:
            parts.append(f"{self.unjudged:,} chosen could not be judged")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """A stable JSON object, derived figures included."""
        return asdict(self) | {
            "state": str(self.state),
            "exit_code": int(self.exit_code),
            "ratio": round(self.ratio, 3),
            "images_per_second": round(self.images_per_second, 3),
            "message": self.message,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_record(self) -> str:
        """The JSON that the ledger keeps: without names, which stand in rows that can be erased."""
        kept = {name: value for name, value in self.to_dict().items() if name not in NAMING}
        return json.dumps(kept | {"failures": [], "broken": []}, sort_keys=True)


def count(ledger: Ledger, run_id: str, threshold: float) -> dict[str, Any]:
    """The part of a run's summary that the ledger knows; fidelity below ``threshold`` is counted as low."""
    with ledger.read() as connection:
        return {
            **_committed(connection, run_id),
            "fidelity": scores(connection, shards.c.run_id == run_id, threshold=threshold),
            "unjudged": unjudged(connection, shards.c.run_id == run_id),
            **_failed(connection, run_id),
            "open_failures": _open_failures(connection, run_id),
            "left": connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(batches.c.units), 0)).where(
                    batches.c.run_id == run_id, batches.c.state == BatchState.PLANNED
                )
            ).scalar_one(),
            "broken": list(
                connection.execute(
                    sa.select(batches.c.error)
                    .where(
                        batches.c.run_id == run_id,
                        batches.c.state == BatchState.PLANNED,
                        batches.c.error.is_not(None),
                    )
                    .limit(NAMED)
                ).scalars()
            ),
        }


def _committed(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    mine = shards.c.run_id == run_id
    row = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(shards.c.rows), 0)).where(mine)
    ).one()
    sums = [sa.func.coalesce(sa.func.sum(batches.c[f"{stage}_seconds"]), 0.0) for stage in STAGES]
    sizes = [sa.func.coalesce(sa.func.sum(batches.c[name]), 0) for name in ("bytes_in", "bytes_out")]
    totals = connection.execute(
        sa.select(*sizes, *sums).where(batches.c.run_id == run_id, batches.c.state == BatchState.COMMITTED)
    ).one()
    return {
        "shards": int(row[0]),
        "compressed": int(row[1]),
        "bytes_in": int(totals[0]),
        "bytes_out": int(totals[1]),
        "stage_seconds": dict(zip(STAGES, (round(float(value), 3) for value in totals[2:]), strict=True)),
    }


def _failed(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    reasons = connection.execute(
        sa.select(failures.c.reason, sa.func.count())
        .where(failures.c.run_id == run_id)
        .group_by(failures.c.reason)
        .order_by(failures.c.reason)
    ).all()
    named = connection.execute(
        sa.select(object_versions.c.key, failures.c.reason, failures.c.detail)
        .join(object_versions, object_versions.c.id == failures.c.object_version_id)
        .where(failures.c.run_id == run_id)
        .order_by(object_versions.c.key)
        .limit(NAMED)
    ).all()
    return {
        "failed": sum(number for _, number in reasons),
        "reasons": {row[0]: row[1] for row in reasons},
        "failures": [NamedFailure(key=key, reason=reason, detail=detail) for key, reason, detail in named],
    }


def _open_failures(connection: sa.Connection, run_id: str) -> int:
    query = (
        sa.select(sa.func.count())
        .select_from(work)
        .join(runs, sa.and_(runs.c.compressor_id == work.c.compressor_id, runs.c.id == run_id))
        .join(
            object_versions,
            sa.and_(
                object_versions.c.id == work.c.object_version_id,
                object_versions.c.collection_id == runs.c.collection_id,
            ),
        )
        .where(FAILED, object_versions.c.superseded_at.is_(None))
    )
    return int(connection.execute(query).scalar_one())

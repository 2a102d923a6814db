"""The certificate of an erasure: that photos which nothing names any more were erased, with proofs of its events.

Reads only. Knows nothing of how anything is erased.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.erasure import State
from infra.erasure_tables import erasure_items, shard_rewrites
from infra.installation import Installation
from infra.tables import audit_events
from tasks.certificates import proofs_of
from tasks.erasure import row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureCertificate:
    """Of one erasure."""

    id: str
    sha256: str  # of what was signed: object versions and salted commitments, whose salts are erased
    reason: str
    objects: int
    shards: int
    done_at: datetime
    first_intent: int  # events
    last_intent: int
    done_seq: int
    done: dict[str, Any]  # the event
    proofs: tuple[
        str, ...
    ]  # tlog-proof of the last intent and of the end; empty until a checkpoint covers them
    anchors: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"done_at": self.done_at.isoformat()}


def certificate_of(house: Installation, erasure_id: str) -> ErasureCertificate:
    """Raises ``UsageError`` for one that is not known, or not done."""
    with house.ledger.read() as connection:
        row = row_of(connection, erasure_id)
        if row.state != State.DONE:
            raise UsageError(f"erasure {erasure_id} is {row.state}, so there is no certificate of it")
        item = erasure_items.c
        ends = sa.select(sa.func.min(item.intent_seq), sa.func.max(item.intent_seq), sa.func.count())
        first, last, objects = connection.execute(ends.where(item.erasure_id == erasure_id)).one()
        mine = sa.select(sa.func.count()).where(shard_rewrites.c.erasure_id == erasure_id)
        body = connection.execute(sa.select(audit_events.c.body).where(audit_events.c.seq == row.done_seq))
        proofs, anchors = proofs_of(connection, (last, row.done_seq))
        return ErasureCertificate(
            id=row.id,
            sha256=row.sha256,
            reason=row.reason,
            objects=int(objects),
            shards=int(connection.execute(mine).scalar_one()),
            done_at=row.done_at,
            first_intent=int(first),
            last_intent=int(last),
            done_seq=int(row.done_seq),
            done=parse(bytes(body.scalar_one())),
            proofs=proofs,
            anchors=anchors,
        )

"""The certificate of a destroyed original: what went, when, under what, how that was confirmed, and what may be left.

A certificate speaks of one object version. It says "destroyed" of that version only, and names what it knows of beside
it: other versions and delete markers of the key, other object versions with the same bytes. Each of its two events
comes with its proof, which anybody can check. Reads only. Knows nothing of how anything is destroyed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.tlog_proof import format_proof
from fwd2bot_core.errors import NotInArchive
from infra.anchoring import cosigned_note, receipts_of
from infra.audit_tree import prove_event
from infra.checkpoints import newest
from infra.installation import Installation
from infra.lookup import find
from infra.retention_tables import certificates
from infra.tables import audit_events, object_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Of one object version."""

    collection: str
    key: str
    identity: str
    sha256: str
    bytes: int
    list_id: str
    deleted_at: datetime
    purge_not_before: datetime | None  # when the provider's own copies may end; None: nobody told us
    others: tuple[dict[str, Any], ...]  # versions and delete markers that the key still had
    copies: int  # other object versions with the same bytes that are not destroyed
    intended: dict[str, Any]  # the event
    confirmed: dict[str, Any]
    proofs: tuple[str, ...]  # tlog-proof of both; empty until a checkpoint covers them
    anchors: tuple[str, ...]  # where the checkpoint of the proofs is kept

    @property
    def bytes_are_gone(self) -> bool:
        """Whether nothing that we know of holds these bytes any more."""
        return not self.copies and not any(not other["marker"] for other in self.others)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        times = {name: getattr(self, name) for name in ("deleted_at", "purge_not_before")}
        said = {name: at.isoformat() if at else None for name, at in times.items()}
        return asdict(self) | said | {"bytes_are_gone": self.bytes_are_gone}


def certificates_of(house: Installation, image: str, collection: str | None = None) -> list[Certificate]:
    """Of each destroyed version of a key or content, oldest first.

    Raises ``NotInArchive`` for what is not known, and where nothing was destroyed.
    """
    with house.ledger.read() as connection:
        versions = find(connection, image, collection)
        rows = [(version, _row(connection, version.id)) for version in versions]
        made = [_certificate(connection, version, row) for version, row in rows if row is not None]
    if not made:
        raise NotInArchive(
            f"no original of {image!r} was destroyed; `fwd2bot show {image}` tells its whole life"
        )
    return made


def _row(connection: sa.Connection, number: int) -> sa.Row[Any] | None:
    mine = certificates.c.object_version_id == number
    return connection.execute(sa.select(certificates).where(mine)).one_or_none()


def _certificate(connection: sa.Connection, version: sa.Row[Any], row: sa.Row[Any]) -> Certificate:
    seqs = (row.intent_seq, row.confirmed_seq)
    intended, confirmed = (_event(connection, seq) for seq in seqs)
    proofs, anchors = proofs_of(connection, seqs)
    return Certificate(
        collection=version.collection,
        key=version.key,
        identity=version.identity,
        sha256=version.content_sha256,
        bytes=version.size,
        list_id=row.list_id,
        deleted_at=row.deleted_at,
        purge_not_before=row.purge_not_before,
        others=tuple(json.loads(row.others)),
        copies=_copies(connection, version),
        intended=intended,
        confirmed=confirmed,
        proofs=proofs,
        anchors=anchors,
    )


def _event(connection: sa.Connection, seq: int) -> dict[str, Any]:
    body = connection.execute(sa.select(audit_events.c.body).where(audit_events.c.seq == seq)).scalar_one()
    return parse(bytes(body))


def _copies(connection: sa.Connection, version: sa.Row[Any]) -> int:
    same = sa.and_(
        object_versions.c.content_sha256 == version.content_sha256,
        object_versions.c.id != version.id,
        object_versions.c.destroyed_seq.is_(None),
    )
    return int(connection.execute(sa.select(sa.func.count()).where(same)).scalar_one())


def proofs_of(connection: sa.Connection, seqs: Sequence[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Against the newest checkpoint, and where that one is kept."""
    last = newest(connection)
    if last is None or last.size <= max(seqs):
        return (), ()
    note = cosigned_note(connection, last.size)
    made = tuple(format_proof(seq, prove_event(connection, seq, last.size), note) for seq in seqs)
    return made, tuple(receipt.place for receipt in receipts_of(connection, last.size).values())

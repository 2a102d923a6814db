"""What an edge process and the server say to each other, as JSON: files, a batch to be done, a receipt.

Knows shapes. Knows nothing of HTTP, files or the ledger.
"""

from __future__ import annotations

import base64
from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from fwd2bot_core.work import Batch, Receipt, Unit
from infra.objects import ObjectInfo

FILES = 500  # in one request
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_RECEIPT = TypeAdapter(Receipt)


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Said):
    """One original that lies at the line. ``etag`` changes when its content does."""

    key: str = Field(min_length=1, max_length=1000)
    size: int = Field(ge=0)
    etag: str = Field(pattern=r"^[\x21-\x39\x3b-\x7e]{1,200}$")
    modified: AwareDatetime

    @classmethod
    def of(cls, info: ObjectInfo) -> File:
        return cls(key=info.key, size=info.size, etag=info.etag, modified=info.modified)

    def info(self) -> ObjectInfo:
        return ObjectInfo(self.key, self.size, self.etag, None, self.modified)


class Wanted(_Said):
    """To ``POST /api/edge/batches``: files that may be new, and a batch is asked for; or that was all."""

    collection: str
    compressor: Sha256 = Field(description="fingerprint of the compressor at the line")
    files: list[File] = Field([], max_length=FILES)
    done: bool = False
    listed: int = Field(0, ge=0, description="files at the line, once it is done")


class HandedUnit(_Said):
    """``fwd2bot_core.work.Unit``; the salt is hex."""

    object_version_id: int
    key: str
    identity: str
    size: int
    modified: AwareDatetime
    salt: str
    content_sha256: str | None
    facts: int


class HandedBatch(_Said):
    """``fwd2bot_core.work.Batch``."""

    batch_id: str
    night: date
    units: list[HandedUnit]

    @classmethod
    def of(cls, batch: Batch) -> HandedBatch:
        names = [name for name in HandedUnit.model_fields if name != "salt"]
        units = [
            HandedUnit(salt=unit.salt.hex(), **{name: getattr(unit, name) for name in names})
            for unit in batch.units
        ]
        return cls(batch_id=batch.batch_id, night=batch.night, units=units)

    def batch(self, collection: str, compressor: str) -> Batch:
        units = (
            Unit(collection=collection, **unit.model_dump() | {"salt": bytes.fromhex(unit.salt)})
            for unit in self.units
        )
        return Batch(self.batch_id, compressor, self.night, tuple(units))


class Handed(_Said):
    """The answer: what to compress next, None for nothing, in which run."""

    run: str
    fencing: int
    new: int = Field(description="files that the ledger had not known")
    batch: HandedBatch | None
    summary: str | None = Field(None, description="of the run, once it is over")


class Uploaded(_Said):
    """To ``POST /api/edge/receipts``: a receipt with the bytes that it names, in base64."""

    collection: str
    run: str
    fencing: int
    receipt: dict[str, Any]
    shard: str | None
    segment: str

    @classmethod
    def of(
        cls, collection: str, handed: Handed, receipt: Receipt, shard: bytes | None, segment: bytes
    ) -> Uploaded:
        return cls(
            collection=collection,
            run=handed.run,
            fencing=handed.fencing,
            receipt=_RECEIPT.dump_python(receipt, mode="json"),
            shard=None if shard is None else base64.b64encode(shard).decode(),
            segment=base64.b64encode(segment).decode(),
        )

    def parsed(self) -> tuple[Receipt, bytes | None, bytes]:
        """Receipt, shard, segment. Raises ``ValueError``."""
        shard = None if self.shard is None else base64.b64decode(self.shard, validate=True)
        return (
            _RECEIPT.validate_python(self.receipt),
            shard,
            base64.b64decode(self.segment, validate=True),
        )

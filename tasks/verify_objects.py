"""What one ``batch.committed`` event says, held against the stored bytes, the tables, and the images in the shard.

The event is what counts: whoever can write to the database can alter a table, so tables are only compared
with it. Knows one event at a time; reads, and repairs nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.segment import read_segment, verify_subroot
from fwd2bot_core.errors import IntegrityError, StoreError, StoreUnreachable
from fwd2bot_core.tokens.shard import ShardRow, read_head, read_rows
from infra.database import Ledger
from infra.objects import ObjectStore
from infra.tables import (
    audit_segments,
    audit_values,
    collections,
    compressors,
    object_versions,
    shards,
    summaries,
)
from tasks.rewrites import Rewrites
from tasks.verify_fidelity import wrong_fidelity

NONE = Rewrites([])
COMPARED = {
    "shard": ("sha256", "bytes", "rows", "batch_id", "run_id", "compressor"),
    "segment": ("path", "sha256", "bytes", "rows", "subroot", "batch_id"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not what was committed."""

    what: str  # "shard", "segment", "ledger", "summaries", "probes", "label check", "event", "facts", ...
    name: str
    problem: str


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)  # fields of later versions are ignored

    path: str
    sha256: str
    bytes: int
    rows: int
    subroot: str | None = None  # of segments only


class _After(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    batch_id: str
    segment: _Object
    shard: _Object | None = None  # None: every image of the batch was rejected


class Committed(BaseModel):
    """The part of a ``batch.committed`` event that can be checked."""

    model_config = ConfigDict(frozen=True, strict=True)

    seq: int
    run_id: str
    collection: str  # the commitment that stands for its name
    compressor: str
    after: _After


@dataclass(frozen=True, slots=True)
class Target:
    """One object that an event says was committed."""

    kind: str  # "shard" or "segment"
    event: Committed
    said: _Object

    @property
    def facts(self) -> dict[str, Any]:
        """What the event says, under the names that ``COMPARED`` uses."""
        event = {"batch_id": self.event.after.batch_id, **self.event.model_dump(exclude={"after"})}
        return event | self.said.model_dump()


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it."""

    bytes: int  # read
    row: int | None  # its number in the table ``shards`` or ``audit_segments``; None: it has none
    findings: list[Finding]
    held: list[Any] | None  # a shard's rows or a segment's lines; None: it could not be read


def targets(body: Mapping[str, Any]) -> list[Target]:
    """The objects that a ``batch.committed`` event names; raises ``IntegrityError`` if it does not name them."""
    try:
        event = Committed.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(f"it does not say what was committed: {place}: {first['msg']}") from error
    found = [Target("segment", event, event.after.segment)]
    return found if event.after.shard is None else [Target("shard", event, event.after.shard), *found]


def check(ledger: Ledger, archive: ObjectStore, target: Target, rewrites: Rewrites = NONE) -> Checked:
    """Read one object and hold everything against its event. Raises ``StoreUnreachable``.

    What erasures did is told by ``rewrites``: for a shard that was written again the one that took its place is read,
    and one of which no row was left must not be in the ledger any more.
    """
    if target.kind == "shard" and target.said.path in rewrites:
        now = rewrites.now(target.said.path)
        if now is None:
            return _emptied(ledger, target)
        target = replace(target, said=_Object.model_validate(dict(now)))
    with ledger.read() as connection:
        row = _row(connection, target)
        images = _images(connection, row) if row is not None and target.kind == "shard" else set()
    path = target.said.path
    findings = [Finding("ledger", path, problem) for problem in _differences(target, row)]
    size, held = 0, None
    try:
        data = archive.read(path)
        size = len(data)
        held = _check_bytes(target, data)
    except StoreUnreachable:
        raise  # it says nothing about what is stored
    except (IntegrityError, StoreError) as error:
        findings.append(Finding(target.kind, path, str(error)))
    else:
        if target.kind == "segment":
            now_there = [line for line in map(rewrites.line, held) if line is not None]
            findings += [Finding("summaries", *wrong) for wrong in wrong_fidelity(ledger, now_there)]
        if row is not None and target.kind == "shard":
            findings += [Finding("ledger", path, wrong) for wrong in _wrong_codec(row, data)]
            findings += [Finding("summaries", path, wrong) for wrong in _wrong_rows(row, held, images)]
    return Checked(size, None if row is None else row.id, findings, held)


def _emptied(ledger: Ledger, target: Target) -> Checked:
    with ledger.read() as connection:
        row = _row(connection, target)
    problem = "every row of it was erased, as the log says, and its table still has it"
    findings = [] if row is None else [Finding("ledger", target.said.path, problem)]
    return Checked(0, None if row is None else row.id, findings, [])


def _row(connection: sa.Connection, target: Target) -> sa.Row[Any] | None:
    """What the ledger's table says of the object."""
    if target.kind == "segment":
        return connection.execute(
            sa.select(audit_segments, audit_segments.c.seq.label("id")).where(
                audit_segments.c.seq == target.event.seq
            )
        ).one_or_none()
    name = sa.and_(audit_values.c.kind == "collection", audit_values.c.value == collections.c.name)
    return connection.execute(
        sa.select(
            shards,
            compressors.c.fingerprint.label("compressor"),
            collections.c.name.label("collection"),
            audit_values.c.salt,
        )
        .join(compressors, compressors.c.id == shards.c.compressor_id)
        .join(collections, collections.c.id == shards.c.collection_id)
        .outerjoin(audit_values, name)  # none: the name was erased from the log
        .where(shards.c.path == target.said.path)
    ).one_or_none()


def _differences(target: Target, row: sa.Row[Any] | None) -> Iterator[str]:
    if row is None:
        yield f"event {target.event.seq} commits this {target.kind}, and its table has no row of it"
        return
    for name in COMPARED[target.kind]:
        said, found = target.facts[name], row._mapping[name]
        if said != found:
            yield f"event {target.event.seq} says {name} {said}, the row in the table says {found}"
    if target.kind == "shard" and row.salt is not None:
        name = commitment(row.salt, "collection", row.collection)
        if name != target.event.collection:
            yield f"event {target.event.seq} is about another collection than {row.collection!r}, as the table says"


def _check_bytes(target: Target, data: bytes) -> list[Any]:
    """Raises ``IntegrityError`` unless ``data`` is what the event says; a shard's rows, or a segment's lines."""
    said, digest = target.said, hashlib.sha256(data).hexdigest()
    if digest != said.sha256:
        raise IntegrityError(
            f"{len(data):,} bytes with sha256 {digest[:16]}, committed were {said.bytes:,} with {said.sha256[:16]}. "
            "Restore it from a backup or another version, then verify again."
        )
    if target.kind == "segment":
        verify_subroot(data, said.subroot or "")
        return _counted(said, read_segment(data))
    made_by = read_head(io.BytesIO(data)).spec.fingerprint
    if made_by != target.event.compressor:
        raise IntegrityError(
            f"made by compressor {made_by[:12]}, committed for {target.event.compressor[:12]}"
        )
    return _counted(said, read_rows(io.BytesIO(data)))


def _counted(said: _Object, found: list[Any]) -> list[Any]:
    if len(found) != said.rows:
        raise IntegrityError(f"{said.rows} rows were committed, the file holds {len(found)}")
    return found


def _images(connection: sa.Connection, shard: sa.Row[Any]) -> set[tuple[Any, ...]]:
    """Which image the ledger says lies in which row of one shard."""
    rows = connection.execute(
        sa.select(
            summaries.c.row,
            summaries.c.object_version_id,
            object_versions.c.content_sha256,
            object_versions.c.key,
            object_versions.c.identity,
            summaries.c.source_bytes,
            object_versions.c.collection_id,
            summaries.c.compressor_id,
        )
        .join(object_versions, object_versions.c.id == summaries.c.object_version_id)
        .where(summaries.c.shard_id == shard.id)
    )
    return {tuple(row) for row in rows}


def _wrong_codec(shard: sa.Row[Any], data: bytes) -> Iterator[str]:
    codec = read_head(io.BytesIO(data)).codec
    if codec != shard.codec:
        yield f"the shard says that its tokens are {codec}, the row in the table says {shard.codec}"


def _wrong_rows(shard: sa.Row[Any], held: list[ShardRow], images: set[tuple[Any, ...]]) -> Iterator[str]:
    """Where the shard's rows and the ledger's images differ, in either direction."""
    place = (shard.collection_id, shard.compressor_id)
    stored = {
        (number, r.object_version_id, r.content_sha256, r.key, r.identity, r.source_bytes, *place)
        for number, r in enumerate(held)
    }
    wrong = sorted({image[0] for image in stored ^ images})
    if not wrong:
        return
    shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
    yield (
        f"the ledger does not say of {len(wrong):,} of {len(held):,} rows what the shard says (row {shown}): the "
        "tables summaries or object_versions were altered. Restore the ledger from a backup."
    )

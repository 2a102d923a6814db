"""Which image is meant: the current version of a key, or the version whose content was named by its sha256.

An answer must never come silently from another version or collection than the one asked about, so whatever
has two readings is refused. Knows nothing about what is in a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import NotInArchive, UsageError
from infra.erasure_tables import erasure_items
from infra.installation import Installation
from infra.retention_tables import certificates
from infra.tables import collections, compressors, contents, failures, object_versions, shards, summaries

MIN_DIGITS = 12  # of a sha256, so that it is not taken for a key by accident
AT_ONCE = 1_000  # numbers that one statement asks for


@dataclass(frozen=True, slots=True)
class Stored:
    """Where one object version's summary tokens lie, and which version that is."""

    object_version_id: int
    key: str
    collection: str
    identity: str
    sha256: str  # of the original's bytes
    superseded: bool  # the key holds another version by now; this one was asked for by its content
    shard: str
    row: int
    fingerprint: str
    bundle: str
    committed_at: datetime


def find(connection: sa.Connection, image: str, collection: str | None) -> Sequence[sa.Row[Any]]:
    """Every version of a key, or else every version whose content's sha256 begins so; oldest first.

    Raises ``NotInArchive``.
    """
    query = (
        sa.select(
            object_versions,
            collections.c.name.label("collection"),
            contents.c.width,
            contents.c.height,
            contents.c.format,
        )
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .outerjoin(contents, contents.c.sha256 == object_versions.c.content_sha256)
        .order_by(object_versions.c.id)
    )
    if collection is not None:
        query = query.where(collections.c.name == collection)
    found = connection.execute(query.where(object_versions.c.key == image)).all()
    if not found and len(image) >= MIN_DIGITS and all(c in "0123456789abcdef" for c in image):
        prefix = object_versions.c.content_sha256
        found = connection.execute(query.where(prefix >= image, prefix < image + "g")).all()
    if not found:
        raise NotInArchive(
            f"nothing is known of {image!r}. Give a key as `fwd2bot status` and the store show it, or the sha256 of "
            "the file; a photo that came after the last night is not known yet."
        )
    return found


def locate(installation: Installation, image: str, collection: str | None = None) -> Stored:
    """The committed summary tokens of an image by the compressor that its collection has in use.

    A key means its current version; a superseded one is found by its sha256 only. Raises ``NotInArchive``, which
    says why there are none, and ``UsageError`` for a key of several collections.
    """
    with installation.ledger.read() as connection:
        found = find(connection, image, collection)
        meant = _current(image, found) if found[0].key == image else _same_content(image, found)
        for version in meant:
            if (place := _place(connection, version, installation.spec(version.collection))) is not None:
                return _stored(version, place)
        first = (meant or found)[0]
        raise NotInArchive(_why_not(connection, image, first, installation.spec(first.collection)))


def _current(image: str, found: Sequence[sa.Row[Any]]) -> list[sa.Row[Any]]:
    current = [version for version in found if version.superseded_at is None]
    names = sorted({version.collection for version in current})
    if len(names) > 1:
        raise UsageError(f"{image!r} is in the collections {', '.join(names)}: name one with --collection")
    return current


def _same_content(image: str, found: Sequence[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """Any of them shows the same picture; current ones first, then the newest."""
    if len({version.content_sha256 for version in found}) > 1:
        raise UsageError(f"several contents have a sha256 that begins with {image}: give more of its digits")
    return sorted(found, key=lambda version: (version.superseded_at is not None, -version.id))


def _place(connection: sa.Connection, version: sa.Row[Any], spec: CompressorSpec) -> sa.Row[Any] | None:
    mine = summaries.c.object_version_id == version.id
    return connection.execute(_places(spec).where(mine)).one_or_none()


def _places(spec: CompressorSpec) -> sa.Select[Any]:
    """The committed rows of one compressor."""
    return (
        sa.select(
            shards.c.path,
            summaries.c.row,
            compressors.c.fingerprint,
            compressors.c.name.label("bundle"),
            shards.c.committed_at,
        )
        .select_from(summaries)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .where(compressors.c.fingerprint == spec.fingerprint)
    )


def by_number(connection: sa.Connection, numbers: Sequence[int], spec: CompressorSpec) -> dict[int, Stored]:
    """Where the tokens of object versions lie, by number; those without any of that compressor are left out."""
    query = (
        _places(spec)
        .add_columns(object_versions, collections.c.name.label("collection"))
        .join(object_versions, object_versions.c.id == summaries.c.object_version_id)
        .join(collections, collections.c.id == object_versions.c.collection_id)
    )
    found: dict[int, Stored] = {}
    for start in range(0, len(numbers), AT_ONCE):
        some = numbers[start : start + AT_ONCE]
        for row in connection.execute(query.where(summaries.c.object_version_id.in_(some))):
            found[row.id] = _stored(row, row)
    return found


def _stored(version: sa.Row[Any], place: sa.Row[Any]) -> Stored:
    return Stored(
        object_version_id=version.id,
        key=version.key,
        collection=version.collection,
        identity=version.identity,
        sha256=version.content_sha256,
        superseded=version.superseded_at is not None,
        shard=place.path,
        row=place.row,
        fingerprint=place.fingerprint,
        bundle=place.bundle,
        committed_at=place.committed_at,
    )


def _why_not(connection: sa.Connection, image: str, version: sa.Row[Any], spec: CompressorSpec) -> str:
    failure = connection.execute(
        sa.select(failures.c.reason, failures.c.detail)
        .join(compressors, compressors.c.id == failures.c.compressor_id)
        .where(failures.c.object_version_id == version.id, compressors.c.fingerprint == spec.fingerprint)
        .order_by(failures.c.id.desc())
        .limit(1)
    ).one_or_none()
    why = "it was not compressed yet" if failure is None else f"{failure.reason}, {failure.detail}"
    said = (
        f"{image!r} is known in {version.collection}, but compressor {spec.short} has no committed tokens of its "
        f"current version: {why}."
    )
    if others := _others(connection, version, spec):
        said += f" There are some of {others}, which {spec.short} cannot read."
    if version.destroyed_seq is not None:
        said += f" Its original was destroyed{_by_certificate(connection, version)}."
    if (older := _older(connection, version, spec)) is not None:
        said += f" An older version has some: ask for it by its sha256, {older[:MIN_DIGITS]}."
    return f"{said} `fwd2bot show {image}` tells its whole life."


def _others(connection: sa.Connection, version: sa.Row[Any], spec: CompressorSpec) -> str:
    """The other compressors that have tokens of it."""
    rows = connection.execute(
        sa.select(compressors.c.name, compressors.c.fingerprint)
        .join(summaries, summaries.c.compressor_id == compressors.c.id)
        .where(summaries.c.object_version_id == version.id, compressors.c.fingerprint != spec.fingerprint)
        .order_by(compressors.c.id)
    )
    return ", ".join(f"{row.name} {row.fingerprint[:12]}" for row in rows)


def why_no_tokens(connection: sa.Connection, number: int) -> str:
    """Of one that ``by_number`` leaves out: that it was erased, and by which erasure, or that there are none."""
    erased = connection.execute(
        sa.select(erasure_items.c.erasure_id, erasure_items.c.changed_at)
        .where(erasure_items.c.object_version_id == number, erasure_items.c.confirmed_seq.is_not(None))
        .order_by(erasure_items.c.confirmed_seq)
        .limit(1)
    ).one_or_none()
    if erased is None:
        return f"object version {number} has no tokens of the compressor in use"
    return (
        f"object version {number} was erased on {erased.changed_at:%Y-%m-%d %H:%M} UTC; `fwd2bot erasure certificate "
        f"{erased.erasure_id}` proves it"
    )


def destruction(connection: sa.Connection, object_version_id: int) -> tuple[datetime, str] | None:
    """When an original was destroyed and by which disposition list, as its certificate says; None: there is none."""
    mine = certificates.c.object_version_id == object_version_id
    query = sa.select(certificates.c.deleted_at, certificates.c.list_id).where(mine)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.deleted_at, row.list_id)


def _by_certificate(connection: sa.Connection, version: sa.Row[Any]) -> str:
    """When, and where that is certified."""
    if (found := destruction(connection, version.id)) is None:
        return f" (event {version.destroyed_seq} of the audit log)"
    at, list_id = found
    return f" on {at:%Y-%m-%d %H:%M} UTC by list {list_id}; `fwd2bot certificate {version.key}` proves it"


def _older(connection: sa.Connection, version: sa.Row[Any], spec: CompressorSpec) -> str | None:
    """The sha256 of the newest superseded version of the same key that has tokens."""
    return connection.execute(
        sa.select(object_versions.c.content_sha256)
        .join(summaries, summaries.c.object_version_id == object_versions.c.id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .where(
            object_versions.c.collection_id == version.collection_id,
            object_versions.c.key == version.key,
            object_versions.c.superseded_at.is_not(None),
            compressors.c.fingerprint == spec.fingerprint,
        )
        .order_by(object_versions.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()

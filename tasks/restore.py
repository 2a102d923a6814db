"""Bring an original back that a list destroyed: the same bytes, under its key, as a new version of it.

    permitted -> the destroyed version -> bytes whose sha256 is the ledger's -> create-only put -> read back and hashed
    -> one transaction: the new object version, event 'original.restored'

The bytes come from another version that the store still has, or from a copy that somebody kept; nothing else is ever
put there. The destroyed version stays destroyed, and its certificate true: it now names a copy. What comes back has no
capture date, so no policy lets it go until somebody gives it one. A crash before the transaction leaves an object that
the same command takes over. Knows nothing of lists.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import IntegrityError, NotInArchive, ObjectMissing, StoreError, UsageError
from fwd2bot_core.retention.roles import Act
from infra import audit_log, pairing
from infra.crashpoints import reach
from infra.installation import Installation
from infra.lookup import find
from infra.objects import ObjectInfo, ObjectStore, Versions
from infra.tables import object_versions
from tasks import facts, people


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back."""

    collection: str
    key: str
    identity: str  # of the new version
    sha256: str
    bytes: int
    destroyed: str  # identity of the version that was destroyed
    source: str  # "archive copy", or the version that had the bytes
    seq: int  # the event


@dataclass(frozen=True, slots=True)
class _Source:
    data: bytes
    name: str


def restore(
    house: Installation,
    image: str,
    person: str,
    *,
    copy: Path | None = None,
    collection: str | None = None,
    reason: str = "",
) -> Restored:
    """Restore a key or content, from ``copy`` or else from a version that the store has. For compliance or data team.

    Raises ``AccessDenied``, ``NotInArchive`` where nothing was destroyed, ``UsageError`` for other bytes than those
    destroyed, and where the key holds any photo already, ``IntegrityError`` where the store gives others back, and
    ``StoreError``.
    """
    someone = people.permitted(house.ledger, person, Act.RESTORE, f"image {image}")
    with house.ledger.read() as connection:
        destroyed = _destroyed(connection, image, collection)
    store = house.originals(destroyed[-1].collection)
    row, source = _from_copy(destroyed, copy) if copy else _from_store(house, store, destroyed)
    there = _current(store, row.key)
    if there is not None:
        _refuse_unless_left_over(house, store, row, there)
    info = there or store.create(row.key, source.data)
    _check(store, info, row)
    reach("restore.written")
    return _write_down(house, someone, row, info, source, reason)


def _destroyed(connection: sa.Connection, image: str, collection: str | None) -> list[sa.Row[Any]]:
    """The destroyed versions of what is meant, the last one last."""
    found = [row for row in find(connection, image, collection) if row.destroyed_seq is not None]
    if not found:
        raise NotInArchive(f"no original of {image!r} was destroyed, so there is none to bring back")
    names = sorted({(row.collection, row.key) for row in found})
    if len(names) > 1:
        said = ", ".join(f"{key!r} in {name}" for name, key in names)
        raise UsageError(f"{image!r} may be {said}; name the key and --collection")
    return sorted(found, key=lambda row: row.destroyed_seq)


def _from_copy(destroyed: Sequence[sa.Row[Any]], copy: Path) -> tuple[sa.Row[Any], _Source]:
    try:
        data = copy.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {copy}: {error.strerror}") from None
    digest = hashlib.sha256(data).hexdigest()
    row = next((row for row in reversed(destroyed) if _same(row, data, digest)), None)
    if row is None:
        wanted = ", ".join(sorted({str(row.content_sha256) for row in destroyed}))
        raise UsageError(
            f"{copy} has sha256 {digest}, and what was destroyed had {wanted}; nothing was restored. Find the copy "
            "with exactly these bytes: a photo that was saved again, or converted, is another one"
        )
    return row, _Source(data, "archive copy")


def _from_store(
    house: Installation, store: ObjectStore, destroyed: Sequence[sa.Row[Any]]
) -> tuple[sa.Row[Any], _Source]:
    """The newest destroyed one whose bytes another version still has."""
    for row in reversed(destroyed):
        for key, identity in _candidates(house, store, row):
            try:
                data = store.read(key, identity=identity)
            except StoreError:
                continue
            if _same(row, data, hashlib.sha256(data).hexdigest()):
                return row, _Source(data, f"{key} {identity}")
    raise ObjectMissing(
        f"no version in {store.uri} has the bytes of {destroyed[-1].key!r} any more (sha256 "
        f"{destroyed[-1].content_sha256}); name an archive copy with --from FILE"
    )


def _candidates(house: Installation, store: ObjectStore, row: sa.Row[Any]) -> Iterator[tuple[str, str]]:
    """Versions that may have the bytes of ``row``: of its key, and what the ledger says has the same content."""
    held = store.versions_of(row.key) if isinstance(store, Versions) else ()
    yield from ((info.key, info.identity) for info in held if not info.marker and info.size == row.size)
    photo = object_versions.c
    same = sa.select(photo.key, photo.identity).where(
        photo.content_sha256 == row.content_sha256,
        photo.collection_id == row.collection_id,
        photo.destroyed_seq.is_(None),
    )
    with house.ledger.read() as connection:
        others = connection.execute(same).all()
    yield from ((key, identity) for key, identity in others)


def _same(row: sa.Row[Any], data: bytes, digest: str) -> bool:
    return bool(digest == row.content_sha256 and len(data) == row.size)


def _current(store: ObjectStore, key: str) -> ObjectInfo | None:
    try:
        return store.stat(key)
    except ObjectMissing:
        return None


def _refuse_unless_left_over(
    house: Installation, store: ObjectStore, row: sa.Row[Any], there: ObjectInfo
) -> None:
    """The key holds something. Only what an earlier try of this command left there may be taken over."""
    photo = object_versions.c
    mine = sa.and_(photo.collection_id == row.collection_id, photo.key == row.key)
    with house.ledger.read() as connection:
        known = connection.execute(sa.select(photo.id).where(mine, photo.identity == there.identity)).first()
    data = store.read(row.key, identity=there.identity)
    if not _same(row, data, hashlib.sha256(data).hexdigest()):
        raise UsageError(
            f"{row.key!r} holds another photo by now ({there.identity}), which is never covered; nothing was restored. "
            "Move it to a key of its own first"
        )
    if known is not None:
        raise UsageError(
            f"{row.key!r} holds these very bytes already, as {there.identity}; nothing to restore"
        )


def _check(store: ObjectStore, info: ObjectInfo, row: sa.Row[Any]) -> None:
    data = store.read(info.key, identity=info.identity)
    if not _same(row, data, hashlib.sha256(data).hexdigest()):
        raise IntegrityError(
            f"{store.uri} gives other bytes back for {info.key!r} as {info.identity} than it was given; look at it "
            "before the next night, and restore again"
        )


def _write_down(
    house: Installation,
    person: people.Person,
    row: sa.Row[Any],
    info: ObjectInfo,
    source: _Source,
    reason: str,
) -> Restored:
    at = audit_log.now()
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        pairing.check(connection, house.archive)
        number, salt = _insert(connection, row, info, at)
        after = {
            "state": "restored",
            "object_version": number,
            "identity": commitment(salt, "identity", info.identity),
            "content": commitment(row.salt, "sha256", row.content_sha256),
            "bytes": row.size,
            "source": "archive-copy" if source.name == "archive copy" else "version",
        }
        event = Event(
            type="original.restored",
            occurred_at=at,
            actor=person.actor(),
            collection=audit_log.reference(connection, "collection", row.collection),
            subject=facts.subject(connection, facts.unit_of(row, row.collection)),
            before={"state": "destroyed", "confirmed_seq": row.destroyed_seq},
            after=after,
            reason_text=reason or None,
        )
        seq = audit_log.append(connection, event)
    return Restored(
        row.collection, row.key, info.identity, row.content_sha256, row.size, row.identity, source.name, seq
    )


def _insert(connection: sa.Connection, row: sa.Row[Any], info: ObjectInfo, at: Any) -> tuple[int, bytes]:
    """As a listing would find it, and with its content, which is known: certificates name it as a copy at once."""
    photo = object_versions.c
    same = sa.and_(photo.collection_id == row.collection_id, photo.key == row.key)
    listed = connection.execute(
        sa.select(photo.id, photo.salt).where(same, photo.identity == info.identity)
    ).one_or_none()
    if listed is not None:  # by a night, since it was put there
        return int(listed.id), bytes(listed.salt)
    connection.execute(
        object_versions.update().where(same, photo.superseded_at.is_(None)).values(superseded_at=at)
    )
    new = {
        "collection_id": row.collection_id, "key": row.key, "identity": info.identity, "size": info.size,
        "modified": info.modified, "salt": secrets.token_bytes(16), "content_sha256": row.content_sha256,
        "first_seen_at": at,
    }  # fmt: skip
    number = connection.execute(object_versions.insert().values(**new).returning(photo.id)).scalar_one()
    return int(number), new["salt"]

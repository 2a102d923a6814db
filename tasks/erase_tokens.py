"""Summary tokens of photos that are erased: their shards written again without them, indexes and manifests after that.

    new shard, create-only -> one transaction: shard row, rows of the others, event -> every version of the old deleted

A crash leaves an orphan that is written once more, or an old shard that nothing names and that the next run deletes.
Touches no original. Knows nothing of why something is erased.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.errors import ObjectMissing
from fwd2bot_core.tokens.rewriting import without_rows
from fwd2bot_core.tokens.shard import read_rows
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.crashpoints import reach
from infra.erasure_tables import shard_rewrites
from infra.installation import Installation
from infra.objects import ObjectInfo, ObjectStore, Versions
from infra.objects.named import create_named
from infra.search_index import folder_of
from infra.tables import collections, compressors, shards, summaries
from tasks.publish import publish_now, spec_of
from tasks.rewrites import REWRITTEN

Guard = Callable[[sa.Connection], None]  # raises where something forbids it now


def rewrite(house: Installation, erasure_id: str, role: str, units: Sequence[Unit], guard: Guard) -> int:
    """Write every shard that holds one of them again without it; how many. Raises what ``guard`` raises."""
    numbers = [unit.object_version_id for unit in units]
    with house.ledger.read() as connection:
        mine = sa.select(summaries.c.shard_id).where(summaries.c.object_version_id.in_(numbers))
        paths = connection.execute(sa.select(shards.c.path).where(shards.c.id.in_(mine))).scalars().all()
    for path in sorted(paths):
        body, removed = without(house, path, numbers)
        new = None if body is None else written(house, path, body)
        reach("erase.shard-written")
        with house.ledger.write() as connection:
            audit_log.hold(connection)
            guard(connection)
            _swap(connection, erasure_id, audit_log.actor(connection, role), path, (new, body), removed)
            if new is not None:
                house.archive.stat(
                    new
                )  # a sweep holds the log's head too while it deletes: what is there stays
        reach("erase.shard-swapped")
    return len(paths)


def tidy(house: Installation, erasure_id: str) -> None:
    """Delete what stands for the tokens elsewhere: old shards, indexes of vectors; and name the new shards in
    manifests. Harmless when it is done already."""
    for row in rewrites_of(house, erasure_id):
        delete_all(house.archive, row.old_path)
        reach("erase.shard-removed")
    for row in places_of(house, erasure_id):
        for info in list(house.archive.list(f"{folder_of(row.collection, row.fingerprint)}/")):
            delete_all(house.archive, info.key)
        for info in list(
            house.archive.list(f"manifests/{row.collection}/compressor={row.fingerprint[:12]}/")
        ):
            if not info.key.endswith("/latest.json"):
                delete_all(house.archive, info.key)  # they name shards that are gone
        with house.ledger.write() as connection:
            place = (row.collection_id, row.compressor_id)
            publish_now(connection, house.archive, row.collection, spec_of(row), place)
    reach("erase.tidied")


def rewrites_of(house: Installation, erasure_id: str) -> Sequence[sa.Row[Any]]:
    """The shards that an erasure wrote again, oldest first."""
    query = sa.select(shard_rewrites).where(shard_rewrites.c.erasure_id == erasure_id)
    with house.ledger.read() as connection:
        return connection.execute(query.order_by(shard_rewrites.c.id)).all()


def places_of(house: Installation, erasure_id: str) -> Sequence[sa.Row[Any]]:
    """The collections and compressors that these belong to."""
    query = (
        sa.select(
            shard_rewrites.c.collection_id,
            shard_rewrites.c.compressor_id,
            collections.c.name.label("collection"),
            *(compressors.c[name] for name in ("name", "fingerprint", "k", "d", "dtype")),
        )
        .join(collections, collections.c.id == shard_rewrites.c.collection_id)
        .join(compressors, compressors.c.id == shard_rewrites.c.compressor_id)
        .where(shard_rewrites.c.erasure_id == erasure_id)
        .distinct()
    )
    with house.ledger.read() as connection:
        return connection.execute(query).all()


def delete_all(store: ObjectStore, key: str) -> None:
    """Every version of a key of the archive, delete markers too. Raises ``StoreError`` where the store refuses."""
    for info in held(store, key):
        try:
            store.delete_version(info)
        except ObjectMissing:
            continue


def held(store: ObjectStore, key: str) -> Sequence[ObjectInfo]:
    """What the store holds under a key."""
    if isinstance(store, Versions):
        return list(store.versions_of(key))
    try:
        return [store.stat(key)]
    except ObjectMissing:
        return []


def without(house: Installation, path: str, numbers: Sequence[int]) -> tuple[bytes | None, dict[int, int]]:
    """A shard without these object versions: the new bytes, None if no row is left; and by row of the old ones, which
    object version these say lies there."""
    with house.ledger.read() as connection:
        gone = {row for row, number in _rows(connection, path) if number in set(numbers)}
    data = house.archive.read(path)
    held = read_rows(io.BytesIO(data))
    return without_rows(data, gone), {row: held[row].object_version_id for row in sorted(gone)}


def written(house: Installation, old: str, body: bytes) -> str:
    """Put such bytes into the archive; their path. Its name is the old one's with the hash of its own body, as every
    shard's."""
    path = f"{old.rpartition('-')[0]}-{hashlib.sha256(body).hexdigest()[:16]}.parquet"
    create_named(house.archive, path, body)
    return path


def _rows(connection: sa.Connection, path: str) -> Iterator[tuple[int, int]]:
    """(row, object version) of a shard; versions with the same bytes may share a row."""
    query = (
        sa.select(summaries.c.row, summaries.c.object_version_id)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .where(shards.c.path == path)
        .order_by(summaries.c.row, summaries.c.object_version_id)
    )
    for row, number in connection.execute(query).all():
        yield int(row), int(number)


def _swap(
    connection: sa.Connection,
    erasure_id: str,
    actor: Actor,
    path: str,
    by: tuple[str | None, bytes | None],
    removed: dict[int, int],
) -> None:
    """The new shard in the old one's place for an erasure, which must find both again."""
    swapped = swap(connection, {"erasure": erasure_id}, actor, path, by, removed)
    if swapped is None:
        return  # another process of the same erasure was quicker
    shard, seq = swapped
    connection.execute(
        shard_rewrites.insert().values(
            erasure_id=erasure_id,
            collection_id=shard.collection_id,
            compressor_id=shard.compressor_id,
            shard_id=shard.id,
            old_path=path,
            new_path=by[0],
            seq=seq,
        )
    )


def swap(
    connection: sa.Connection,
    subject: dict[str, Any],
    actor: Actor,
    path: str,
    by: tuple[str | None, bytes | None],
    removed: dict[int, int],
) -> tuple[sa.Row[Any], int] | None:
    """The new shard (path and bytes; None: no row is left) in the old one's place, in the ledger and in the log, within
    a transaction that holds the log's head; the old shard's row and the event's number. None if it is gone already."""
    shard = connection.execute(sa.select(shards).where(shards.c.path == path)).one_or_none()
    if shard is None:
        return None
    there, (new, body) = list(_rows(connection, path)), by
    mine = summaries.c.shard_id == shard.id
    connection.execute(summaries.delete().where(mine, summaries.c.row.in_(sorted(removed))))
    _renumber(connection, shard, [(row, n) for row, n in there if row not in removed], sorted(removed))
    after: dict[str, Any] = {"rows": 0}
    if new is not None and body is not None:
        sha256 = hashlib.sha256(body).hexdigest()
        after = {"path": new, "sha256": sha256, "bytes": len(body), "rows": shard.rows - len(removed)}
        connection.execute(shards.update().where(shards.c.id == shard.id).values(after))
    else:
        connection.execute(shards.delete().where(shards.c.id == shard.id))
    return shard, audit_log.append(connection, _event(connection, subject, actor, shard, after, removed))


def _renumber(
    connection: sa.Connection, shard: sa.Row[Any], kept: Sequence[tuple[int, int]], removed: Sequence[int]
) -> None:
    moved = [
        {"number": number, "new": row - sum(gone < row for gone in removed)}
        for row, number in kept
        if removed and row > removed[0]
    ]
    if moved:
        mine = sa.and_(
            summaries.c.shard_id == shard.id, summaries.c.object_version_id == sa.bindparam("number")
        )
        connection.execute(summaries.update().where(mine).values(row=sa.bindparam("new")), moved)


def _event(
    connection: sa.Connection,
    subject: dict[str, Any],
    actor: Actor,
    shard: sa.Row[Any],
    after: dict[str, Any],
    removed: dict[int, int],
) -> Event:
    name = sa.select(collections.c.name).where(collections.c.id == shard.collection_id)
    made_by = sa.select(compressors.c.fingerprint).where(compressors.c.id == shard.compressor_id)
    return Event(
        type=REWRITTEN,
        occurred_at=audit_log.now(),
        actor=actor,
        collection=audit_log.reference(connection, "collection", connection.execute(name).scalar_one()),
        subject=subject | {"removed": [[row, number] for row, number in removed.items()]},
        before={name: getattr(shard, name) for name in ("path", "sha256", "bytes", "rows")},
        after=after,
        compressor=connection.execute(made_by).scalar_one(),
    )

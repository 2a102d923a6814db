"""Tokens of a compressor that is not in use any more may go, image by image, where nothing is lost by it.

Nothing is lost where the original still lies in the store as the version that was compressed, no legal hold is on it,
and the tokens of the compressor in use passed fidelity. Where the original is gone, tokens are a record, and stay. Each
shard is written again without what goes, as for an erasure; the event that says so names every row. Touches no
original.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import BlockedByPolicy, ObjectMissing, StoreError, UsageError
from infra import audit_log
from infra.crashpoints import reach
from infra.installation import Installation
from infra.objects import ObjectStore
from infra.retention_tables import hold_members, legal_holds
from infra.tables import collections, compressors, object_versions, shards, summaries
from tasks.erase_tokens import delete_all, swap, without, written
from tasks.publish import publish_now, spec_of

MOST = 2_000  # rows that one event names
ASKING = 16  # originals that are asked for at once
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Droppable:
    """What may go, and what stays by reason; images."""

    collection: str
    fingerprint: str  # of the compressor whose tokens they are
    ids: tuple[int, ...]
    kept: dict[str, int]

    @property
    def token(self) -> str:
        """Stands for exactly these images; whoever drops them repeats it."""
        named = ",".join(map(str, self.ids))
        return hashlib.sha256(f"{self.collection}|{self.fingerprint}|{named}".encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        said = {name: value for name, value in asdict(self).items() if name != "ids"}
        return said | {"may_go": len(self.ids), "token": self.token}


def look(house: Installation, collection: str, old: str) -> Droppable:
    """Hold every image with tokens of compressor ``old`` (at least 6 digits of its fingerprint) against the rule.

    Raises ``UsageError`` for a compressor that is in use or not known, ``StoreUnreachable``.
    """
    compressor = _old(house, collection, old)
    _, source = house.settings.collection(collection)
    store, kept, ids = house.originals(collection), Counter[str](), list[int]()
    for rows in _pages(house, collection, compressor.id):
        for row, why in zip(rows, _judge(store, rows, source.fidelity.threshold), strict=True):
            if why is None:
                ids.append(row.id)
            else:
                kept[why] += 1
    return Droppable(collection, compressor.fingerprint, tuple(ids), dict(sorted(kept.items())))


def drop(house: Installation, collection: str, old: str, token: str, *, role: str = "operator") -> Droppable:
    """Drop what may go. Raises ``BlockedByPolicy`` if ``token`` does not stand for just that any more."""
    found = look(house, collection, old)
    if token != found.token:
        raise BlockedByPolicy(
            f"{token!r} does not stand for the {len(found.ids):,} images whose tokens may go now; look again"
        )
    compressor = _old(house, collection, old)
    with house.ledger.read() as connection:
        paths = _paths(connection, compressor.id, found.ids)
    for path, numbers in paths.items():
        for first in range(0, len(numbers), MOST):
            path = _rewrite(house, path, numbers[first : first + MOST], compressor.fingerprint, role)
    _publish(house, collection, compressor)
    return found


def _old(house: Installation, collection: str, old: str) -> sa.Row[Any]:
    with house.ledger.read() as connection:
        mine = compressors.c.fingerprint.startswith(old, autoescape=True)
        found = connection.execute(sa.select(compressors).where(mine)).all()
    if len(old) < 6 or len(found) != 1:
        raise UsageError(
            f"{old!r} names no compressor of the ledger: give at least 6 digits of its fingerprint, as `fwd2bot "
            "status` shows it"
        )
    if found[0].fingerprint == house.spec(collection).fingerprint:
        raise UsageError(
            f"{old} is the compressor that {collection} uses; tokens of one that it used before may go"
        )
    return found[0]


def _pages(house: Installation, collection: str, old_id: int) -> Iterator[Sequence[sa.Row[Any]]]:
    """Images with tokens of the old compressor, by their number, with what is known of the new ones."""
    last, fingerprint = 0, house.spec(collection).fingerprint
    fresh = summaries.alias("fresh")
    mine = sa.select(compressors.c.id).where(compressors.c.fingerprint == fingerprint).scalar_subquery()
    query = (
        sa.select(
            object_versions.c.id,
            object_versions.c.key,
            object_versions.c.identity,
            object_versions.c.superseded_at,
            object_versions.c.destroyed_seq,
            fresh.c.shard_id.label("fresh_shard"),
            fresh.c.fidelity,
            _held().label("held"),
        )
        .select_from(summaries)
        .join(object_versions, object_versions.c.id == summaries.c.object_version_id)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .outerjoin(
            fresh,
            sa.and_(fresh.c.object_version_id == object_versions.c.id, fresh.c.compressor_id == mine),
        )
        .where(summaries.c.compressor_id == old_id, collections.c.name == collection)
        .order_by(object_versions.c.id)
        .limit(PAGE)
    )
    while True:
        with house.ledger.read() as connection:
            rows = connection.execute(query.where(object_versions.c.id > last)).all()
        if not rows:
            return
        yield rows
        last = rows[-1].id


def _held() -> sa.ColumnElement[bool]:
    member = sa.and_(hold_members.c.hold_id == legal_holds.c.id, legal_holds.c.released_at.is_(None))
    return (
        sa.select(hold_members.c.hold_id)
        .join(legal_holds, member)
        .where(hold_members.c.object_version_id == object_versions.c.id)
        .exists()
    )


def _judge(store: ObjectStore, rows: Sequence[sa.Row[Any]], threshold: float) -> list[str | None]:
    """Why each stays; None: nothing is lost by its going. The store is asked last, and only where all else says so."""
    said = [_by_the_ledger(row, threshold) for row in rows]
    with ThreadPoolExecutor(ASKING, thread_name_prefix="stat") as pool:
        asked = pool.map(lambda pair: pair[1] or _by_the_store(store, pair[0]), zip(rows, said, strict=True))
        return list(asked)


def _by_the_ledger(row: sa.Row[Any], threshold: float) -> str | None:
    if row.destroyed_seq is not None:
        return "a record: the original is destroyed"
    if row.superseded_at is not None:
        return "a record: the key holds another version by now"
    if row.held:
        return "under a legal hold"
    if row.fresh_shard is None:
        return "no tokens of the compressor in use"
    if row.fidelity is None:
        return "the new tokens were not judged"
    return None if row.fidelity >= threshold else "the new tokens did not pass"


def _by_the_store(store: ObjectStore, row: sa.Row[Any]) -> str | None:
    try:
        there = store.stat(row.key)
    except ObjectMissing:
        return "a record: the store does not have the original"
    except StoreError:
        return "the store does not tell"
    return None if there.identity == row.identity else "a record: the store holds another version"


def _paths(connection: sa.Connection, old_id: int, ids: Sequence[int]) -> dict[str, list[int]]:
    """The shards of the old compressor that hold these, with which."""
    found: dict[str, list[int]] = {}
    for first in range(0, len(ids), PAGE):
        rows = connection.execute(
            sa.select(shards.c.path, summaries.c.object_version_id)
            .join(shards, shards.c.id == summaries.c.shard_id)
            .where(
                summaries.c.compressor_id == old_id,
                summaries.c.object_version_id.in_(ids[first : first + PAGE]),
            )
            .order_by(shards.c.path, summaries.c.row)
        )
        for path, number in rows:
            found.setdefault(path, []).append(number)
    return found


def _rewrite(house: Installation, path: str, numbers: Sequence[int], fingerprint: str, role: str) -> str:
    """One shard without these; where what is left of it lies now. A crash leaves an old shard that nothing names, and a
    night sweeps it."""
    body, removed = without(house, path, numbers)
    new = None if body is None else written(house, path, body)
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        _still_free(connection, numbers)
        swap(
            connection,
            {"dropped": fingerprint},
            audit_log.actor(connection, role),
            path,
            (new, body),
            removed,
        )
        if new is not None:
            house.archive.stat(new)  # a sweep holds the log's head too while it deletes
    reach("drop.shard-swapped")
    delete_all(house.archive, path)
    return new or path


def _still_free(connection: sa.Connection, numbers: Sequence[int]) -> None:
    """A hold that was placed, or an original that was destroyed, since it was looked at."""
    bound = sa.or_(object_versions.c.destroyed_seq.is_not(None), _held())
    query = sa.select(object_versions.c.id).where(object_versions.c.id.in_(numbers), bound)
    if (found := connection.execute(query.limit(1)).scalar()) is not None:
        raise BlockedByPolicy(
            f"object version {found} came under a hold, or lost its original, meanwhile; look again. What was dropped "
            "before is in the log"
        )


def _publish(house: Installation, collection: str, row: sa.Row[Any]) -> None:
    with house.ledger.write() as connection:
        mine = sa.select(collections.c.id).where(collections.c.name == collection)
        number = connection.execute(mine).scalar_one()
        publish_now(connection, house.archive, collection, spec_of(row), (number, row.id))

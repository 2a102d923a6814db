"""Planning a backfill in durable slices: what there is goes into the ledger, and what nobody has is claimed.

A slice is one transaction: new versions, what the backfill is about, batches with their claims, and the slice's row.
Planning again after a crash finds what is written and goes on. Knows nothing about how batches run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import UsageError
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.backfill_tables import backfill_items, backfill_slices
from infra.crashpoints import reach
from infra.duplicates import side_by_side
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.tables import collections, compressors, object_versions, work
from tasks.backfill_scope import PAGE, Entries, Scope
from tasks.backfills import Backfill, planned, read
from tasks.discover import listing, register, stage
from tasks.estimate import costs
from tasks.facts import unit_of
from tasks.plan import batch_size, being_erased, claim
from tasks.runs import Run, changing


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice holds; ``claimed`` are images that nobody had."""

    images: int = 0
    bytes: int = 0
    claimed: int = 0

    def __add__(self, other: Slice) -> Slice:
        return Slice(self.images + other.images, self.bytes + other.bytes, self.claimed + other.claimed)


def write_slices(
    house: Installation,
    run: Run,
    backfill: Backfill,
    *,
    progress: Callable[[Slice], None] = lambda _: None,
    going_on: Callable[[], bool] = lambda: True,
) -> Backfill:
    """Plan what is not planned yet, until ``going_on`` says no. Raises ``StoreError``; what is written stays."""
    total = _written(house, backfill)
    entries = Entries(house, backfill.collection, backfill.scope)
    for chunk in entries.chunks():
        if not going_on():
            return read(house.ledger, backfill.id)
        total += _write_slice(house, run, backfill, chunk)
        progress(total)
        reach("backfill.slice-written")
    counts = {"images": total.images, "bytes": total.bytes, "claimed": total.claimed}
    return planned(house.ledger, run, backfill, counts | {"missing": entries.missing})


def _written(house: Installation, backfill: Backfill) -> Slice:
    mine = backfill_slices.c.backfill_id == backfill.id
    sums = [
        sa.func.coalesce(sa.func.sum(backfill_slices.c[name]), 0) for name in ("images", "bytes", "claimed")
    ]
    with house.ledger.read() as connection:
        row = connection.execute(sa.select(*sums).where(mine)).one()
    return Slice(*(int(value) for value in row))


def _write_slice(house: Installation, run: Run, backfill: Backfill, chunk: list[ObjectInfo]) -> Slice:
    with changing(house.ledger, run) as connection:
        stage(connection, chunk)
        if backfill.scope.kind != "ledger":
            _register_unknown(connection, run)
        rows = connection.execute(_not_yet_mine(run, backfill)).all()
        if not rows:
            return Slice()
        free = side_by_side([unit_of(row, run.collection) for row in rows if row.work_state is None])
        for units in _cut(free, _size(house, backfill, len(free), whole=len(chunk) == PAGE)):
            claim(connection, run, units)
        found = Slice(len(rows), sum(row.size for row in rows), len(free))
        _note(connection, backfill, [row.id for row in rows], found)
        return found


def _note(connection: sa.Connection, backfill: Backfill, ids: list[int], found: Slice) -> None:
    mine = backfill_slices.c.backfill_id == backfill.id
    number = connection.execute(sa.select(sa.func.count()).select_from(backfill_slices).where(mine)).scalar()
    connection.execute(
        backfill_slices.insert().values(
            backfill_id=backfill.id,
            number=number,
            images=found.images,
            bytes=found.bytes,
            claimed=found.claimed,
            planned_at=audit_log.now(),
        )
    )
    connection.execute(
        backfill_items.insert(),
        [{"backfill_id": backfill.id, "object_version_id": each, "slice": number} for each in ids],
    )


def _register_unknown(connection: sa.Connection, run: Run) -> None:
    """Versions of keys that the ledger has never met. A key that holds another version than the ledger knows is a
    night's affair: it is the nights that say which version is the current one."""
    known = object_versions.c
    same_key = sa.and_(known.collection_id == run.collection_id, known.key == listing.c.key)
    rows = connection.execute(
        sa.select(listing).outerjoin(object_versions, same_key).where(known.id.is_(None))
    )
    if new := [dict(row._mapping) for row in rows]:
        register(connection, run.collection_id, new)


def _not_yet_mine(run: Run, backfill: Backfill) -> sa.Select[Any]:
    """Listed current versions that are in no slice yet, with the state of their claim, by their number."""
    known = object_versions.c
    return (
        sa.select(object_versions, work.c.state.label("work_state"))
        .select_from(listing)
        .join(
            object_versions,
            sa.and_(
                known.collection_id == run.collection_id,
                known.key == listing.c.key,
                known.identity == listing.c.identity,
            ),
        )
        .outerjoin(
            work,
            sa.and_(work.c.object_version_id == known.id, work.c.compressor_id == run.compressor_id),
        )
        .outerjoin(
            backfill_items,
            sa.and_(
                backfill_items.c.backfill_id == backfill.id, backfill_items.c.object_version_id == known.id
            ),
        )
        .where(
            known.superseded_at.is_(None),
            known.destroyed_seq.is_(None),
            backfill_items.c.object_version_id.is_(None),
            ~being_erased(),
        )
        .order_by(known.id)
    )


def _size(house: Installation, backfill: Backfill, free: int, *, whole: bool) -> int:
    """Images a batch: every worker gets a share of a small backfill, and none is more than the budget allows."""
    settings = house.settings
    size = settings.night.batch_size if whole else batch_size(free, settings)
    most = backfill.budget.max_images
    return size if most is None else max(1, min(size, most))


def _cut(units: Sequence[Unit], size: int) -> list[tuple[Unit, ...]]:
    return [tuple(units[first : first + size]) for first in range(0, len(units), size)]


def count(
    house: Installation,
    collection: str,
    entries: Entries,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Counter[str], Counter[str]]:
    """Images and bytes of what there is by what the ledger says of it: compressed, failed, claimed (by anybody), known
    (and nobody's), or new. Writes nothing. Raises ``StoreError``."""
    images, sizes = Counter[str](), Counter[str]()
    fingerprint = house.spec(collection).fingerprint
    for chunk in entries.chunks():
        with house.ledger.read() as connection:
            stage(connection, chunk)
            for row in connection.execute(states_of_listing(collection, fingerprint)):
                images[row.state] += 1
                sizes[row.state] += row.size
        progress(images.total())
    return images, sizes


def states_of_listing(collection: str, fingerprint: str) -> sa.Select[Any]:
    """Each staged entry with what the ledger says of that version: (key, size, state, reason)."""
    known = object_versions.c
    number = sa.select(collections.c.id).where(collections.c.name == collection).scalar_subquery()
    mine = sa.select(compressors.c.id).where(compressors.c.fingerprint == fingerprint).scalar_subquery()
    said = sa.case((known.id.is_(None), "new"), (work.c.state.is_(None), "known"), else_=work.c.state).label(
        "state"
    )
    return (
        sa.select(listing.c.key, listing.c.size, said, work.c.reason)
        .select_from(listing)
        .outerjoin(
            object_versions,
            sa.and_(
                known.collection_id == number,
                known.key == listing.c.key,
                known.identity == listing.c.identity,
            ),
        )
        .outerjoin(work, sa.and_(work.c.object_version_id == known.id, work.c.compressor_id == mine))
    )


def check_scope(house: Installation, collection: str, prefix: str) -> None:
    """Raises ``UsageError`` for a prefix that no key of the collection can have."""
    _, source = house.settings.collection(collection)
    if not (prefix.startswith(source.prefix) or source.prefix.startswith(prefix)):
        raise UsageError(f"keys of {collection} start with {source.prefix!r}, so none starts with {prefix!r}")


def foresee(house: Installation, collection: str, scope: Scope) -> dict[str, Any]:
    """What a backfill of that scope would do, as plain JSON values: images and bytes by what the ledger says of them,
    and what the rest would take. Writes nothing. Raises ``StoreError``."""
    entries = Entries(house, collection, scope)
    images, sizes = count(house, collection, entries)
    free = {name: images[name] for name in ("known", "new")}
    seconds, stored = costs(house, collection, sum(free.values()))
    return {
        "collection": collection,
        "scope": str(scope),
        "compressor": house.spec(collection).short,
        "images": images.total(),
        "bytes": sizes.total(),
        "compressed": images["compressed"],
        "rejected": images["failed"],
        "claimed": images["claimed"],
        "to_claim": sum(free.values()),
        "to_claim_bytes": sum(sizes[name] for name in free),
        "missing": entries.missing,
        "seconds": seconds[0],
        "seconds_from": seconds[1],
        "stored_bytes": stored[0],
        "stored_from": stored[1],
    }

"""The store's versions held against the ledger: what should be there and is not, what is there and should not be.

    missing   the ledger expects it, and the store does not hold it                    critical
    zombie    a certificate says that it is destroyed, and the store holds it          critical
    orphan    the store holds it, and the ledger does not know it                      told, no more
    unclear   the store did not say, or a list is destroying it just now               asked again by the next run

A listing shows only current versions and may be old; so each suspect is asked for by itself, at the store and in the
ledger as it is then, before it is named. Memory stays flat. Deletes nothing, writes nothing, mends nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import ObjectChanged, ObjectMissing, StoreError, StoreUnreachable
from fwd2bot_core.retention.disposition import ItemState
from infra.installation import Installation
from infra.objects import ObjectInfo, ObjectStore, Versions
from infra.retention_tables import disposition_items
from infra.tables import collections, object_versions

CHUNK = 1000  # rows or entries looked up with one query
NAMED = 100  # findings of each kind that are named; all are counted
WINDOWS = 10  # places in the ledger from which a sample is taken

_seen = sa.Table(
    "seen",
    sa.MetaData(),
    sa.Column("object_version_id", sa.BigInteger, primary_key=True, autoincrement=False),
    prefixes=["TEMPORARY"],
)
_photo = object_versions.c
# An overwritten version stays where there are versions; elsewhere its bytes are gone, and nobody expects them.
_EXPECTED = sa.and_(
    _photo.destroyed_seq.is_(None), sa.or_(_photo.superseded_at.is_(None), _photo.identity.like("v:%"))
)
Progress = Callable[[int, int], None]


class Kind(StrEnum):
    """What is wrong with one object version."""

    MISSING = "missing"
    ZOMBIE = "zombie"
    ORPHAN = "orphan"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object version that is not where it should be."""

    kind: Kind
    collection: str
    key: str
    identity: str
    detail: str


@dataclass(slots=True)
class Reconciled:
    """One collection's store against the ledger; ``findings`` names the first of each kind, ``counts`` has all."""

    collection: str
    whole: bool  # or a sample
    listed: int = 0  # entries of the store's listing; 0 for a sample
    held_against: int = 0  # rows of the ledger
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    findings: list[Finding] = field(default_factory=list)

    @property
    def critical(self) -> bool:
        return bool(self.counts[Kind.MISSING] or self.counts[Kind.ZOMBIE])

    def add(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= NAMED:
            self.findings.append(finding)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def reconcile(house: Installation, collection: str, *, progress: Progress = lambda *_: None) -> Reconciled:
    """Hold all of one collection against its store; ``progress``: (listed, 0).

    Raises ``SettingsError`` for an unknown collection, and ``StoreError`` where the listing fails; also where nothing
    at all is listed of a collection that has originals, which is what a disk that is not mounted looks like.
    """
    look = _Look(house, collection, whole=True)
    with house.ledger.read() as connection:  # one state of the ledger, older than any entry of the listing
        number = _number(connection, collection)
        _seen.create(connection)
        for entries in _parts(look.store.list(house.settings.collection(collection)[1].prefix)):
            _hold_against_ledger(connection, number, entries, look)
            progress(look.found.listed, 0)
        unseen = ~sa.exists().where(_seen.c.object_version_id == _photo.id)
        rest = sa.or_(sa.and_(_EXPECTED, unseen), _photo.destroyed_seq.is_not(None))
        mine = sa.select(object_versions).where(_photo.collection_id == number)
        _refuse_an_empty_store(connection, number, look)
        for rows in _parts(connection.execute(mine.where(rest), execution_options={"yield_per": CHUNK})):
            look.ask(rows)
        _seen.drop(connection)
    return look.found


def reconcile_sample(
    house: Installation, collection: str, size: int, *, draw: random.Random | None = None
) -> Reconciled:
    """Ask the store for about ``size`` object versions of the ledger, and what else their keys hold.

    The newest destroyed ones are among them. Raises ``SettingsError`` for an unknown collection.
    """
    look, draw = _Look(house, collection, whole=False), draw or random.SystemRandom()
    with house.ledger.read() as connection:
        number = _number(connection, collection)
        rows = _drawn(connection, number, size, draw) if number is not None and size else []
    for part in _parts(rows):
        look.ask(part)
        look.others(number, part)
    return look.found


class _Look:
    """Looking at one collection: its store, and what was found so far."""

    def __init__(self, house: Installation, collection: str, *, whole: bool) -> None:
        self.ledger, self.store = house.ledger, house.originals(collection)
        self.found = Reconciled(collection, whole)

    def ask(self, rows: Sequence[sa.Row[Any]]) -> None:
        """Ask the store for each of these, and name those that are not as the ledger, read again then, says."""
        self.found.held_against += len(rows)
        there = {row.id: _present(self.store, row.key, row.identity) for row in rows}
        wrong = [row.id for row in rows if there[row.id] is not (row.destroyed_seq is None)]
        for part in _parts(wrong):
            with self.ledger.read() as connection:
                going = _going(connection, part)
                now = connection.execute(sa.select(object_versions).where(_photo.id.in_(part))).all()
            for row in now:
                self._judge(row, there[row.id], row.id in going)

    def _judge(self, row: sa.Row[Any], there: bool | None, going: bool) -> None:
        gone = row.destroyed_seq is not None
        if there is None:
            self._name(Kind.UNCLEAR, row, "the store did not say whether it holds it")
        elif there and gone:
            said = f"event {row.destroyed_seq} says that it was destroyed, and the store holds it"
            self._name(Kind.ZOMBIE, row, said)
        elif not there and not gone and going:
            self._name(Kind.UNCLEAR, row, "a list is destroying it; the next run of that list confirms it")
        elif not there and not gone:
            self._name(Kind.MISSING, row, "nobody destroyed it by a list, and the store does not hold it")

    def others(self, number: int | None, rows: Sequence[sa.Row[Any]]) -> None:
        """What else the store holds under the keys of these."""
        for key in dict.fromkeys(row.key for row in rows):
            try:
                held = self.store.versions_of(key) if isinstance(self.store, Versions) else ()
            except StoreError:
                continue  # said of the row itself
            self.orphans(number, [info for info in held if not info.marker])

    def orphans(self, number: int | None, entries: Sequence[ObjectInfo]) -> None:
        """Name those of ``entries`` that the ledger, as it is now, does not know and the store still holds."""
        if not entries:
            return
        with self.ledger.read() as connection:
            known = {(row.key, row.identity) for row in _rows(connection, number, entries)}
        for info in entries:
            if (info.key, info.identity) in known:
                continue
            if (
                self.found.counts[Kind.ORPHAN] >= NAMED
                or _present(self.store, info.key, info.identity) is not False
            ):
                said = "the ledger does not know it: new since the last night, or put there by somebody else"
                self._name(Kind.ORPHAN, info, said)

    def _name(self, kind: Kind, what: Any, detail: str) -> None:
        self.found.add(Finding(kind, self.found.collection, what.key, what.identity, detail))


def _hold_against_ledger(
    connection: sa.Connection, number: int | None, entries: Sequence[ObjectInfo], look: _Look
) -> None:
    known = {(row.key, row.identity): row for row in _rows(connection, number, entries)}
    look.found.listed += len(entries)
    alive = {
        row.id
        for info in entries
        if (row := known.get((info.key, info.identity))) is not None and row.destroyed_seq is None
    }
    look.found.held_against += len(alive)
    fresh = alive - _already(connection, alive)  # a store may list a key twice
    if fresh:
        connection.execute(_seen.insert(), [{"object_version_id": one} for one in sorted(fresh)])
    look.orphans(number, [info for info in entries if (info.key, info.identity) not in known])


def _already(connection: sa.Connection, numbers: set[int]) -> set[int]:
    mine = _seen.c.object_version_id
    return set(connection.execute(sa.select(mine).where(mine.in_(numbers))).scalars())


def _rows(connection: sa.Connection, number: int | None, entries: Sequence[ObjectInfo]) -> list[sa.Row[Any]]:
    keys = sorted({info.key for info in entries})
    query = sa.select(_photo.id, _photo.key, _photo.identity, _photo.destroyed_seq)
    return list(connection.execute(query.where(_photo.collection_id == number, _photo.key.in_(keys))))


def _present(store: ObjectStore, key: str, identity: str) -> bool | None:
    """Whether the store holds exactly this version, asked for in two ways; None: it does not say."""
    try:
        if isinstance(store, Versions):
            if any(info.identity == identity for info in store.versions_of(key)):
                return True
        elif store.stat(key).identity == identity:
            return True
        store.read(key, identity=identity)
    except (ObjectMissing, ObjectChanged):
        return False
    except StoreError:
        return None
    return True


def _going(connection: sa.Connection, numbers: Sequence[int]) -> set[int]:
    """Those that a list means to destroy, so that they may be gone without a confirmation yet."""
    item = disposition_items.c
    query = sa.select(item.object_version_id).where(item.object_version_id.in_(numbers))
    meant = query.where(item.state.in_((ItemState.INTENT, ItemState.UNKNOWN)))
    return set(connection.execute(meant).scalars())


def _refuse_an_empty_store(connection: sa.Connection, number: int | None, look: _Look) -> None:
    current = sa.and_(_photo.destroyed_seq.is_(None), _photo.superseded_at.is_(None))
    query = sa.select(_photo.id).where(_photo.collection_id == number, current).limit(1)
    if not look.found.listed and connection.execute(query).first() is not None:
        raise StoreUnreachable(
            f"{look.store.uri} lists nothing, and the ledger knows originals of {look.found.collection}. Is it "
            "mounted, and is the prefix right? Nothing was compared"
        )


def _drawn(connection: sa.Connection, number: int, size: int, draw: random.Random) -> list[sa.Row[Any]]:
    """The newest destroyed ones, a tenth at most, and some from each of several places."""
    mine = sa.select(object_versions).where(_photo.collection_id == number)
    newest = mine.where(_photo.destroyed_seq.is_not(None)).order_by(_photo.destroyed_seq.desc())
    found = {row.id: row for row in connection.execute(newest.limit(max(1, size // 10)))}
    last = connection.execute(
        sa.select(sa.func.max(_photo.id)).where(_photo.collection_id == number)
    ).scalar()
    expected = mine.where(sa.or_(_EXPECTED, _photo.destroyed_seq.is_not(None))).order_by(_photo.id)
    for _ in range(WINDOWS):
        if len(found) < size and last is not None:
            begin = expected.where(_photo.id >= draw.randint(1, last)).limit(max(1, size // WINDOWS))
            found |= {row.id: row for row in connection.execute(begin)}
    if len(found) < size and last is not None and last <= size:  # a small collection is looked at wholly
        found |= {row.id: row for row in connection.execute(expected.limit(size))}
    return list(found.values())[:size]


def _number(connection: sa.Connection, collection: str) -> int | None:
    """Of a collection that a night has looked at."""
    query = sa.select(collections.c.id).where(collections.c.name == collection)
    return connection.execute(query).scalar_one_or_none()


def _parts(some: Any) -> Iterator[list[Any]]:
    left = iter(some)
    while part := list(islice(left, CHUNK)):
        yield part

"""Proofs from the newest state list: that a key is absent, that the timeline of an object version is whole.

Reads one or two parts of the list. Each proof is checked before it is given, by the rules of
``fwd2bot_core.audit.states`` that a stranger uses; the event that names the list comes with it, so that its place in
the signed log can be proven as any event's.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.state_list import PART, Manifest, listed, read_part
from fwd2bot_core.audit.states import (
    HALF,
    REF_BYTES,
    Line,
    Listed,
    References,
    Summit,
    verify_absent,
    verify_present,
)
from fwd2bot_core.errors import IntegrityError, NotAbsent, NotInArchive, UsageError
from infra.installation import Installation
from infra.objects import ObjectStore
from infra.tables import audit_events, audit_states, collections, object_versions
from tasks.timeline import Fact, timeline


@dataclass(frozen=True, slots=True)
class Shown:
    """The list that a proof is from, and what checking it takes."""

    seq: int  # of its ``state.root`` event
    event: bytes  # that event's body
    summit: Summit
    size: int  # events in the log that the list reflects
    secret: bytes  # lets its holder recompute references; whoever has the whole list can then try names on it


@dataclass(frozen=True, slots=True)
class Absence:
    """No version of a key was known. ``states.verify_absent`` checks it."""

    collection: str
    key: str
    shown: Shown
    before: Listed | None  # its neighbours in the list; None: beyond its end
    after: Listed | None
    known_since: bool  # the ledger knows the key by now


@dataclass(frozen=True, slots=True)
class Whole:
    """All that ever happened to an object version. ``states.verify_present`` checks the list's part of it."""

    object_version_id: int
    collection: str
    key: str
    identity: str
    shown: Shown
    listed: Listed
    line: Line  # what the list says: ``line.n`` facts by then
    facts: tuple[Fact, ...]  # numbered 0, 1, 2, ...; those from ``line.n`` on came after the list
    unnumbered: tuple[Fact, ...]  # from before facts were numbered: nobody can say that these are all


def prove_absent(house: Installation, collection: str, key: str) -> Absence:
    """That the newest list holds no version of ``key``.

    Raises ``NotAbsent`` if it holds one, ``UsageError`` without a list whose secret is kept, ``IntegrityError`` for a
    list that is not as it was logged.
    """
    with house.ledger.read() as connection:
        shown, state_list = _newest(connection, house.archive)
        known_since = _known(connection, collection, key)
    half = References(shown.secret).key(collection, key)
    place = state_list.place(half + bytes(REF_BYTES - HALF))
    before, after = state_list.at(place - 1), state_list.at(place)
    if after is not None and Line.decode(after.line).ref[:HALF] == half:
        raise NotAbsent(
            f"{key!r} of {collection} stands in the state list of event {shown.seq}, so its absence cannot be proven. "
            f"`fwd2bot audit whole` proves what happened to it."
        )
    verify_absent(shown.summit, shown.secret, collection, key, before, after)
    return Absence(collection, key, shown, before, after, known_since)


def prove_whole(house: Installation, object_version_id: int) -> Whole:
    """Every fact about an object version, and the line that says how many there were.

    Raises ``NotInArchive`` for one that the newest list does not know, ``IntegrityError`` when a fact is missing or a
    list is not as it was logged, ``UsageError`` without a list whose secret is kept.
    """
    with house.ledger.read() as connection:
        shown, state_list = _newest(connection, house.archive)
        query = sa.select(object_versions, collections.c.name.label("collection"))
        row = connection.execute(
            query.join(collections, collections.c.id == object_versions.c.collection_id).where(
                object_versions.c.id == object_version_id
            )
        ).one_or_none()
        if row is None:
            raise NotInArchive(f"the ledger knows no object version {object_version_id}")
        found = timeline(connection, house.archive, row)
    name = (row.collection, row.key, row.identity)
    ref = References(shown.secret).version(*name)
    mine = state_list.at(state_list.place(ref))
    if mine is None or Line.decode(mine.line).ref != ref:
        raise NotInArchive(
            f"{row.key!r} came after the state list of event {shown.seq}. Take one now: `fwd2bot audit state`."
        )
    line = verify_present(shown.summit, shown.secret, *name, mine)
    numbered = tuple(fact for fact in found if fact.n is not None)
    _must_be_whole(row, line, numbered, shown)
    unnumbered = tuple(fact for fact in found if fact.n is None)
    return Whole(row.id, *name, shown, mine, line, numbered, unnumbered)


def _must_be_whole(row: sa.Row[Any], line: Line, facts: tuple[Fact, ...], shown: Shown) -> None:
    what = f"object version {row.id} ({row.key!r})"
    numbers = [fact.n for fact in facts]
    if numbers != list(range(row.facts)):
        raise IntegrityError(
            f"the ledger counts {row.facts} facts about {what}, and the audit trail shows those numbered {numbers}"
        )
    then = sum(fact.seq < shown.size for fact in facts)
    if then != line.n:
        raise IntegrityError(
            f"the state list of event {shown.seq} counts {line.n} facts about {what} among the first {shown.size} "
            f"events, and the audit trail shows {then} there"
        )


def _known(connection: sa.Connection, collection: str, key: str) -> bool:
    query = (
        sa.select(object_versions.c.id)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(collections.c.name == collection, object_versions.c.key == key)
    )
    return connection.execute(query.limit(1)).first() is not None


def _newest(connection: sa.Connection, archive: ObjectStore) -> tuple[Shown, StateList]:
    kept = sa.func.length(audit_states.c.secret) > 0
    query = sa.select(audit_states, audit_events.c.body).join(
        audit_events, audit_events.c.seq == audit_states.c.seq
    )
    row = connection.execute(query.where(kept).order_by(audit_states.c.seq.desc()).limit(1)).one_or_none()
    if row is None:
        raise UsageError("there is no state list with its secret yet; take one: `fwd2bot audit state`")
    state_list = StateList(archive, parse(row.body)["after"])
    manifest = state_list.manifest
    return Shown(row.seq, row.body, manifest.summit, manifest.size, row.secret), state_list


class StateList:
    """A list in the archive, held against what its event says; reads the parts that are asked for."""

    def __init__(self, archive: ObjectStore, said: Mapping[str, Any]) -> None:
        """``said``: the event's ``after``. Raises ``IntegrityError``, ``ObjectMissing``."""
        body = archive.read(said["path"])
        if hashlib.sha256(body).hexdigest() != said["sha256"]:
            raise IntegrityError(f"{said['path']} in {archive.uri} does not hold the bytes that were logged")
        self.manifest = Manifest.decode(body)
        if wrong := [name for name in _SAID if getattr(self.manifest, name) != said.get(name)]:
            raise IntegrityError(f"{said['path']} says another {' and '.join(wrong)} than the log")
        self._archive = archive
        self._read: dict[int, list[bytes]] = {}

    def lines(self, number: int) -> list[bytes]:
        """The lines of one part, checked against the manifest."""
        if number not in self._read:
            part = self.manifest.parts[number]
            self._read = {number: read_part(part, self._archive.read(part.path))}
        return self._read[number]

    def place(self, ref: bytes) -> int:
        """The index of the first line whose reference is not below ``ref``; the number of lines if all are."""
        number = max(0, bisect_left(self.manifest.parts, ref.hex(), key=lambda part: part.first) - 1)
        if not self.manifest.parts:
            return 0
        return number * PART + bisect_left(self.lines(number), ref, key=lambda line: Line.decode(line).ref)

    def at(self, index: int) -> Listed | None:
        """A line with its proof; None beyond either end."""
        if not 0 <= index < self.manifest.rows:
            return None
        return listed(self.manifest, index, self.lines(index // PART))


_SAID = ("rows", "root", "facts", "size", "secret_sha256")

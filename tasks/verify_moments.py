"""What the ledger says of when photos were taken, of events and tags, held against the log.

Whoever can write to the tables could make a photo look older than it is, so that it goes earlier: then the row does not
give the commitments of the newest event about it, or, where no person said anything, of its audit segment. Walks along
with the scrub; eight bytes an object version that anybody said something of. Reads, and repairs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment, parse
from fwd2bot_core.audit.events import rfc3339
from infra.database import Ledger
from infra.retention_tables import object_dates, object_facts, object_tags
from infra.tables import audit_events
from tasks.moments import RECORDED, Known, known, said

CHUNK = 500


class Moments:
    """Remembers, of the log, what was said last of each object version."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._last: dict[int, int] = {}  # the newest event of a person, by object version
        self._found: dict[int, set[str]] = {}  # commitments of what segments found, where no person spoke yet

    def event(self, body: Mapping[str, Any]) -> None:
        """Any event, in the order of the log."""
        subject = body.get("subject") or {}
        if body.get("type") == RECORDED and type(subject.get("object_version")) is int:
            self._last[subject["object_version"]] = int(body["seq"])

    def line(self, number: int, line: Mapping[str, Any]) -> None:
        """A segment's line about an object version."""
        for who, told in (line.get("captured") or {}).items():
            self._found.setdefault(number, set()).add(f"{who}:{told}")

    def wrong(self) -> Iterator[tuple[str, str]]:
        """(object version, problem) of each that the ledger says otherwise of than the log."""
        numbers = iter(sorted(self._numbers()))
        while part := list(islice(numbers, CHUNK)):
            with self._ledger.read() as connection:
                there = known(connection, part)
                told = self._told(connection, part)
            for number, one in there.items():
                if problem := self._problem(one, number, told.get(number)):
                    yield str(number), f"{problem}: the tables about dates and tags were altered"

    def _numbers(self) -> set[int]:
        """Those that either side knows something of."""
        with self._ledger.read() as connection:
            tables = (object_facts, object_dates, object_tags)
            held = [connection.execute(sa.select(t.c.object_version_id).distinct()).scalars() for t in tables]
            return {*self._last, *self._found, *(int(number) for some in held for number in some)}

    def _told(self, connection: sa.Connection, part: Sequence[int]) -> dict[int, dict[str, Any]]:
        seqs = {self._last[number]: number for number in part if number in self._last}
        query = sa.select(audit_events.c.seq, audit_events.c.body).where(audit_events.c.seq.in_(seqs))
        return {seqs[row.seq]: parse(row.body)["after"] for row in connection.execute(query)}

    def _problem(self, one: Known, number: int, told: dict[str, Any] | None) -> str | None:
        if one.claims.captured != one.captured_at:
            return "its capture date does not follow from what is said of it"
        if told is None:
            if one.dates or one.tags or one.claims.told is not None:
                return "no event says what its row says"
            return self._not_of_its_segment(one, number)
        now = said(one.unit, one.claims, one.dates, one.tags)
        if any(now.get(kind) != told.get(kind) for kind in ("dates", "tags", "overrules")):
            return "the newest event about it says something else"
        before, after = told.get("captured") or {}, now.get("captured") or {}
        later = self._found.get(number, set())  # a segment may have found more since, in file or key
        new = {f"{who}:{text}" for who, text in after.items() if before.get(who) != text}
        return (
            None
            if new <= later and before.keys() <= after.keys()
            else "the newest event about it says something else"
        )

    def _not_of_its_segment(self, one: Known, number: int) -> str | None:
        held = {f"{who}:{commitment(one.unit.salt, who, rfc3339(at))}" for who, at in one.claims.said.items()}
        return None if held <= self._found.get(number, set()) else "no segment says what its row says"

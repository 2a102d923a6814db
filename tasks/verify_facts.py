"""Is every fact about every image there, once? The numbers in the audit trail, held against the ledger's counts.

Walks along with the scrub: as the log goes on, the facts about one object version must be numbered 0, 1, 2, ...; in
the end there must be as many as ``object_versions`` counts, and as many in all as each ``state.root`` event says. Four
bytes an object version. Knows numbers; whoever reads the objects hands the lines over.

After facts that cannot be read, gaps say nothing new: then only facts that are too many are found.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.segment import NUMBERED
from fwd2bot_core.errors import IntegrityError
from infra.database import Ledger
from infra.tables import failures, object_versions
from tasks import states
from tasks.verify_objects import Finding, Target

SHOWN = 5  # of many, by number
ROWS_AT_ONCE = 10_000


class Facts:
    """Counts what the log shows, event by event, in its order."""

    def __init__(
        self, ledger: Ledger, tell: Callable[[int, Mapping[str, Any]], None] = lambda *_: None
    ) -> None:
        """``tell`` is given each line of a segment with the object version that it is about."""
        self.findings: list[Finding] = []
        self._tell = tell
        self._ledger = ledger
        self._seen = array("I")  # facts about each object version so far, by its number in the ledger
        self._gaps_say_nothing = False
        self._rows: list[int] | None = []  # the object versions of the shard that was last read
        self._events: list[int] = []  # that added facts
        self._totals: list[int] = []  # facts in all, after each of these

    def shard(self, numbers: Sequence[int] | None) -> None:
        """The object versions of a committed shard's rows; its segment comes next. None: it could not be read."""
        self._rows = None if numbers is None else list(numbers)

    def segment(self, target: Target, lines: Sequence[Mapping[str, Any]] | None) -> None:
        """A committed segment; None: it could not be read."""
        rows, self._rows = self._rows, []
        if rows is None or lines is None:
            self.lost()
            return
        numbered = [line for line in lines if line.get("v", 0) >= NUMBERED]
        try:
            ids = self._ids(target, numbered, rows)
            for id, line in zip(ids, numbered, strict=True):
                self._tell(id, line)
            self._count(
                target.event.seq, [(id, line.get("n")) for id, line in zip(ids, numbered, strict=True)]
            )
        except IntegrityError as error:
            self._find(target.said.path, str(error))

    def lost(self) -> None:
        """Facts that cannot be read, which is a finding of its own."""
        self._gaps_say_nothing = True

    def event(self, body: Mapping[str, Any]) -> None:
        """Any event: one that is a fact itself, or that says how many there were."""
        name = str(body.get("seq"))
        try:
            subject = body.get("subject") or {}
            if (
                "object_version" in subject and "n" in subject
            ):  # those from before facts were numbered have no n
                self._count(body["seq"], [(subject["object_version"], subject["n"])])
            elif body.get("type") == states.EVENT:
                self._compare_total(body["after"])
        except (IntegrityError, KeyError, TypeError) as error:
            self._find(f"event {name}", str(error))

    def compare(self, connection: sa.Connection) -> None:
        """The end of the log, in the snapshot that shows that it is the end."""
        wrong = _Few()
        query = sa.select(object_versions.c.id, object_versions.c.facts)
        for id, counted in connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query):
            seen = self._seen[id] if id < len(self._seen) else 0
            if id < len(self._seen):
                self._seen[id] = 0
            if seen > counted or (seen < counted and not self._gaps_say_nothing):
                wrong.add(f"{id}: {counted:,} by the ledger, {seen:,} in the trail")
        gone = _Few()
        for id in (id for id, seen in enumerate(self._seen) if seen):
            gone.add(str(id))
        if wrong.count:
            self._find("object_versions", f"not as many facts in the audit trail as counted: {wrong}")
        if gone.count:
            self._find(
                "object_versions", f"the audit trail holds facts about some that the ledger lost: {gone}"
            )

    def _ids(self, target: Target, lines: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[int]:
        """Which object version each line is about. Lines stand in the order of these numbers, so rejects need none
        of the names that can be erased."""
        rejects = iter(self._rejects(target, sum(line.get("outcome") == "rejected" for line in lines)))
        try:
            return [
                next(rejects) if line.get("outcome") == "rejected" else rows[line["row"]] for line in lines
            ]
        except (KeyError, IndexError, TypeError):
            self.lost()
            raise IntegrityError("its lines name rows that its shard does not have") from None

    def _rejects(self, target: Target, wanted: int) -> list[int]:
        if not wanted:
            return []
        query = sa.select(failures.c.object_version_id).where(
            failures.c.batch_id == target.event.after.batch_id, failures.c.run_id == target.event.run_id
        )
        with self._ledger.read() as connection:
            ids = connection.execute(query.order_by(failures.c.object_version_id)).scalars().all()
        if len(ids) != wanted:
            self.lost()
            raise IntegrityError(
                f"{wanted:,} images of it failed, and the table failures has {len(ids):,} of them"
            )
        return list(ids)

    def _count(self, seq: int, found: Sequence[tuple[Any, Any]]) -> None:
        wrong = _Few()
        for id, n in found:
            if (seen := self._next(id, n)) is not None:
                wrong.add(f"{id}: {n} after {seen} facts" if seen >= 0 else f"{id}: {n}")
        self._events.append(seq)
        self._totals.append((self._totals[-1] if self._totals else 0) + len(found))
        if wrong.count:
            raise IntegrityError(f"it numbers facts about object versions wrongly: {wrong}")

    def _next(self, id: Any, n: Any) -> int | None:
        """None if ``n`` may be the next number; else how many facts there were, -1 for an object version that the
        ledger does not have. Counts it."""
        if type(id) is not int or type(n) is not int or not self._reaches(id):
            return -1
        seen = self._seen[id]
        self._seen[id] = max(seen, n if self._gaps_say_nothing and 0 <= n < 2**31 else 0) + 1
        return None if n == seen or (n > seen and self._gaps_say_nothing) else seen

    def _reaches(self, id: int) -> bool:
        """Make room for it, unless the ledger has no such object version."""
        if 0 <= id < len(self._seen):
            return True
        with self._ledger.read() as connection:
            last = connection.execute(sa.select(sa.func.max(object_versions.c.id))).scalar_one() or 0
        self._seen.frombytes(bytes(self._seen.itemsize * max(0, last + 1 - len(self._seen))))
        return 0 <= id <= last

    def _compare_total(self, said: Mapping[str, Any]) -> None:
        before = bisect_left(self._events, said["size"])
        found = self._totals[before - 1] if before else 0
        if found != said["facts"] and not self._gaps_say_nothing:
            raise IntegrityError(
                f"its list counts {said['facts']:,} facts in the first {said['size']:,} events, and they hold {found:,}"
            )

    def _find(self, name: str, problem: str) -> None:
        self.findings.append(Finding("facts", name, problem))


class _Few:
    """The first of many, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[str] = []

    def add(self, item: str) -> None:
        self.count += 1
        if self.count <= SHOWN:
            self._first.append(item)

    def __str__(self) -> str:
        more = f"; and {self.count - SHOWN:,} more" if self.count > SHOWN else ""
        return "; ".join(self._first) + more

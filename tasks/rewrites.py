"""Shards that were written again without erased photos: what an older part of the log says, as it is to be read now.

The log keeps naming the shard that was first committed. Each ``shard.rewritten`` event says what took its place and
which rows went, so that all that was said of the other rows can still be held against what is there. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import IntegrityError
from infra.tables import audit_events

REWRITTEN = "shard.rewritten"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One shard in another's place."""

    before: str  # path
    after: Mapping[str, Any] | None  # path, sha256, bytes and rows; None: no row was left
    removed: tuple[tuple[int, int], ...]  # row of ``before`` and object version, ascending


class Rewrites:
    """All of a log."""

    def __init__(self, found: Sequence[Rewrite]) -> None:
        self._by_path = {one.before: one for one in found}

    @classmethod
    def read(cls, connection: sa.Connection) -> Rewrites:
        """Raises ``IntegrityError`` for an event that does not say what it must."""
        query = sa.select(audit_events.c.body).where(audit_events.c.type == REWRITTEN)
        bodies = connection.execute(query.order_by(audit_events.c.seq)).scalars()
        return cls([_rewrite(parse(bytes(body))) for body in bodies])

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    def now(self, path: str) -> Mapping[str, Any] | None:
        """What took the place of a shard that was written again; None where no row of it was left."""
        return self._chain(path)[-1].after

    def line(self, line: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """A segment's line with the shard and row where its photo is now; None for one that was erased."""
        if line.get("shard") not in self._by_path:
            return line
        row = line["row"]
        for one in self._chain(line["shard"]):
            gone = [number for number, _ in one.removed]
            if row in gone or one.after is None:
                return None
            row -= sum(number < row for number in gone)
        now = self.now(line["shard"])
        return None if now is None else {**line, "shard": now["path"], "row": row}

    def numbers(self, path: str, held: Sequence[int]) -> list[int]:
        """The object versions of the rows of the shard that was first committed, from those that it holds now."""
        found = list(held)
        for one in reversed(self._chain(path)):
            for row, number in one.removed:
                found.insert(row, number)
        return found

    def _chain(self, path: str) -> list[Rewrite]:
        return list(self._steps(path))

    def _steps(self, path: str) -> Iterator[Rewrite]:
        while (one := self._by_path.get(path)) is not None:
            yield one
            if one.after is None:
                return
            path = one.after["path"]


def _rewrite(body: Mapping[str, Any]) -> Rewrite:
    try:
        after = body["after"] if body["after"]["rows"] else None
        removed = tuple(sorted((int(row), int(number)) for row, number in body["subject"]["removed"]))
        return Rewrite(body["before"]["path"], after, removed)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"event {body.get('seq')} does not say which shard took whose place") from error

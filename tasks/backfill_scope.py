"""Which photos a backfill is about: a part of a listing or report, keys in a file, or what the ledger knows already.

Gives one answer to "what is there": entries as a listing shows them, streamed, names and dates and sizes only. Knows
nothing about what has become of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from fwd2bot_core.capture import captured_from_key
from fwd2bot_core.errors import ObjectMissing, UsageError
from infra.installation import Installation
from infra.objects import ObjectInfo, ObjectStore
from infra.tables import collections, object_versions
from tasks.backfill_reports import reported

Kind = Literal["listing", "list", "ledger", "manifest", "inventory"]
ASKING = 16  # keys of a file that the store is asked about at once
PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What was asked for. Dates are whole days: of the moment that a key names, in ``key_zone``, where the collection
    has a pattern for that; else, in ``zone``, of when the store says that the photo was written."""

    kind: Kind = (
        "listing"  # "ledger": versions that the ledger knows, to be compressed anew by another compressor
    )
    prefix: str = ""  # only keys that start so, below the collection's own prefix
    since: date | None = None
    until: date | None = None  # its last day
    zone: str = "UTC"
    file: str | None = None  # one key a line; a manifest; where the manifest of an inventory lies
    file_sha256: str | None = None
    key_pattern: str | None = None
    key_zone: str | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.until < self.since:
            raise UsageError(f"no day lies between {self.since} and {self.until}")

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        held = json.loads(text)
        days = {name: date.fromisoformat(held[name]) for name in ("since", "until") if held[name]}
        return cls(**held | days)

    def holds(self, entry: ObjectInfo) -> bool:
        """Whether an entry's key and date are in it."""
        if not entry.key.startswith(self.prefix):
            return False
        if self.since is None and self.until is None:
            return True
        day = self._day(entry)
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)

    def _day(self, entry: ObjectInfo) -> date:
        if self.key_pattern is not None:
            named = captured_from_key(entry.key, self.key_pattern, self.key_zone)
            if named is not None:
                return named.astimezone(ZoneInfo(self.key_zone or "UTC")).date()
        return entry.modified.astimezone(ZoneInfo(self.zone)).date()

    def __str__(self) -> str:
        parts = [
            f"{_CALLED[self.kind]} {self.file}" if self.file else "",
            f"below {self.prefix!r}" if self.prefix else "",
        ]
        parts += [f"since {self.since}" if self.since else "", f"until {self.until}" if self.until else ""]
        if self.kind == "ledger":
            parts.insert(0, "what another compressor compressed")
        return ", ".join(part for part in parts if part) or "everything"


_CALLED = {"list": "keys of", "manifest": "what is in", "inventory": "what is in the report"}


def of_file(file: Path) -> tuple[str, str]:
    """Where a list of keys lies, and its sha256. Raises ``UsageError``."""
    try:
        return str(file.resolve()), hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read the list of keys {file}: {error.strerror}") from None


class Entries:
    """What a scope holds now. ``missing`` counts keys of a file that the store does not have, once they were asked for.

    Iterating raises ``StoreError``, and ``UsageError`` for a list of keys that is another one by now.
    """

    def __init__(self, house: Installation, collection: str, scope: Scope) -> None:
        self._house, self._collection, self._scope = house, collection, scope
        self.missing = 0

    def __iter__(self) -> Iterator[ObjectInfo]:
        self.missing = 0
        kinds = {"listing": self._listed, "list": self._asked, "ledger": self._known}
        found = kinds.get(self._scope.kind, self._reported)()
        return filter(self._scope.holds, found)

    def chunks(self) -> Iterator[list[ObjectInfo]]:
        """By the thousand, each key once a chunk."""
        every = iter(self)
        while chunk := list(islice(every, PAGE)):
            yield list({entry.key: entry for entry in chunk}.values())

    def _listed(self) -> Iterator[ObjectInfo]:
        return self._house.originals(self._collection).list(self._prefix())

    def _prefix(self) -> str:
        _, source = self._house.settings.collection(self._collection)
        return self._scope.prefix if self._scope.prefix.startswith(source.prefix) else source.prefix

    def _reported(self) -> Iterator[ObjectInfo]:
        kind, file, sha256 = self._scope.kind, self._scope.file, self._scope.file_sha256
        assert file is not None
        if kind == "manifest":
            self._same_file()
        return reported(self._house, self._collection, kind, file, sha256, self._prefix())

    def _same_file(self) -> Path:
        assert self._scope.file is not None
        file = Path(self._scope.file)
        if of_file(file)[1] != self._scope.file_sha256:
            raise UsageError(
                f"{file} is not the list of keys any more that this backfill began with. Put the old one back, or "
                "cancel the backfill and start another one."
            )
        return file

    def _asked(self) -> Iterator[ObjectInfo]:
        file = self._same_file()
        store = self._house.originals(self._collection)
        with (
            file.open(encoding="utf-8") as lines,
            ThreadPoolExecutor(ASKING, thread_name_prefix="stat") as pool,
        ):
            keys = (key for line in lines if (key := line.rstrip("\r\n")))
            while page := list(islice(keys, PAGE)):
                for found in pool.map(lambda key: _stat(store, key), page):
                    if found is None:
                        self.missing += 1
                    else:
                        yield found

    def _known(self) -> Iterator[ObjectInfo]:
        """Current versions whose original nobody destroyed, by their number."""
        last = 0
        while True:
            query = (
                sa.select(object_versions)
                .join(collections, collections.c.id == object_versions.c.collection_id)
                .where(
                    collections.c.name == self._collection,
                    object_versions.c.id > last,
                    object_versions.c.superseded_at.is_(None),
                    object_versions.c.destroyed_seq.is_(None),
                )
                .order_by(object_versions.c.id)
                .limit(PAGE)
            )
            with self._house.ledger.read() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            last = rows[-1].id
            yield from (_entry(row) for row in rows)


def _stat(store: ObjectStore, key: str) -> ObjectInfo | None:
    try:
        return store.stat(key)
    except ObjectMissing:
        return None


def _entry(row: sa.Row[tuple[object, ...]]) -> ObjectInfo:
    """A version of the ledger as a listing would have shown it."""
    kind, _, name = row.identity.partition(":")
    modified: datetime = row.modified
    if kind == "v":
        return ObjectInfo(row.key, row.size, "", name, modified)
    return ObjectInfo(row.key, row.size, name.rpartition(":")[0], None, modified)

"""Event notifications of a bucket, laid down as files: what is said to be new, instead of a listing.

A file holds one or more records in the form of S3 events, as JSON or JSON lines, plain or wrapped by SNS or SQS. They
come at least once and in no order; what cannot be read is counted, and found by the next sweep. Nothing here deletes
or moves a file. Knows stores and records. Knows nothing of ledgers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from fwd2bot_core.errors import ObjectMissing, UsageError
from infra.objects import ObjectInfo, ObjectStore
from infra.sources.rows import Ours

_WRAPPERS = ("Message", "Body", "body")
_DEEPEST = 4


@dataclass(slots=True)
class EventRecords:
    """As ``Source``: what the files say that were written since a moment. ``unreadable`` counts records and files."""

    store: ObjectStore  # where notifications are laid down
    since: datetime
    ours: Ours
    unreadable: int = field(default=0, init=False)

    @property
    def uri(self) -> str:
        return self.store.uri

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for info in self.store.list():
            if info.modified < self.since:
                continue
            for record in self._records(info.key):
                entry = self._entry(record)
                if entry is not None and entry.key.startswith(prefix):
                    yield entry

    def _records(self, key: str) -> Iterator[dict[str, Any]]:
        try:
            text = self.store.read(key).decode()
        except ObjectMissing:  # whoever lays them down may take them away
            return
        except UnicodeDecodeError:
            self.unreadable += 1
            return
        try:
            yield from self._within(json.loads(text))
        except ValueError:
            for line in filter(str.strip, text.splitlines()):
                try:
                    yield from self._within(json.loads(line))
                except ValueError:
                    self.unreadable += 1

    def _within(self, said: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
        """The records of what one notification holds, however it is wrapped."""
        if isinstance(said, list) and depth < _DEEPEST:
            for each in said:
                yield from self._within(each, depth + 1)
        elif isinstance(said, dict) and isinstance(said.get("Records"), list) and depth < _DEEPEST:
            yield from self._within(said["Records"], depth + 1)
        elif isinstance(said, dict) and "s3" in said:
            yield said
        elif isinstance(said, dict) and depth < _DEEPEST:
            for text in (said[name] for name in _WRAPPERS if isinstance(said.get(name), str)):
                yield from self._within(json.loads(text), depth + 1)

    def _entry(self, record: dict[str, Any]) -> ObjectInfo | None:
        try:
            if not str(record["eventName"]).removeprefix("s3:").startswith("ObjectCreated:"):
                return None
            bucket, told = str(record["s3"]["bucket"]["name"]), record["s3"]["object"]
            row = told | {"key": unquote_plus(told["key"]), "modified": record["eventTime"]}
            return self.ours.entry(row) if self.ours.bucket in (None, bucket) else None
        except (KeyError, TypeError, AttributeError, ValueError, UsageError):
            self.unreadable += 1
            return None

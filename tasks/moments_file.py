"""Dates and tags of photos from a file that somebody brings: CSV, JSON lines or Parquet, a photo a line.

    key, captured_at, tags, untags, event:NAME ...       tags separated by spaces; JSON may have lists and "events": {}

Each line is looked at before anything is written. A day without a time means its end, since a later date keeps a photo
longer. Knows files and words. Knows nothing of photos.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any

from fwd2bot_core.capture import in_zone
from fwd2bot_core.errors import UsageError

MOST_LINE = 64 * 1024  # characters
ROWS_AT_ONCE = 5_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)  # as policies name events and tags
_EVENT = "event:"
_PLAIN = {"key", "captured_at", "tags", "untags", "events"}


@dataclass(frozen=True, slots=True)
class Line:
    """What a file says of one key; all times aware."""

    key: str
    captured: datetime | None = None
    dates: Mapping[str, datetime] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    untags: frozenset[str] = frozenset()


def read(file: Path, zone: str | None) -> list[Line]:
    """Every line, of a file whose name ends in .csv, .jsonl or .parquet.

    ``zone`` is that of times that do not say theirs. Raises ``UsageError``, which names the line: nothing is then done.
    """
    kinds = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if file.suffix.lower() not in kinds:
        raise UsageError(f"{file} is none of {', '.join(kinds)}, as its name should say")
    try:
        return [_line(file, at, values, zone) for at, values in kinds[file.suffix.lower()](file)]
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}") from None


def moment(said: Any, zone: str | None) -> datetime:
    """``2026-11-30``, ``2026-11-30T09:00`` or with its zone, as UTC. Raises ``UsageError``."""
    if isinstance(said, datetime):
        found, day = said, False
    else:
        try:
            found, day = datetime.fromisoformat(str(said)), len(str(said)) == len("2026-11-30")
        except ValueError:
            raise UsageError(f"{said!r} is neither a day such as 2026-11-30 nor a time") from None
    if found.tzinfo is not None:
        return found
    if zone is None:
        raise UsageError(
            f"{said!r} does not say in which zone, and nobody else does: write 2026-11-30T09:00+09:00"
        )
    return in_zone(datetime.combine(found, time.max) if day else found, zone)


def named(said: str, what: str) -> str:
    """The name of an event or tag, as policies write it. Raises ``UsageError``."""
    if not _NAME.fullmatch(said):
        raise UsageError(f"{said!r} is no name of {what}: small letters, digits, and . _ - between them")
    return said


def _line(file: Path, at: int, values: Mapping[str, Any], zone: str | None) -> Line:
    try:
        if strange := sorted(n for n in values if n not in _PLAIN and not n.startswith(_EVENT)):
            raise UsageError(
                f"{strange[0]!r} is no column here; there are key, captured_at, tags, untags, event:NAME"
            )
        given = {name: value for name, value in values.items() if value not in (None, "")}
        if not isinstance(given.get("key"), str):
            raise UsageError("it has no key")
        dates = {n.removeprefix(_EVENT): v for n, v in given.items() if n.startswith(_EVENT)}
        events = dates | dict(given.get("events") or {})
        return Line(
            key=given["key"],
            captured=moment(given["captured_at"], zone) if "captured_at" in given else None,
            dates={named(name, "an event"): moment(value, zone) for name, value in events.items()},
            tags=_words(given.get("tags")),
            untags=_words(given.get("untags")),
        )
    except (UsageError, TypeError, ValueError) as error:
        raise UsageError(f"{file}, line {at}: {error}; nothing was written") from None


def _words(said: Any) -> frozenset[str]:
    words = said.split() if isinstance(said, str) else said or ()
    return frozenset(named(str(word), "a tag") for word in words)


def _csv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, restkey="more columns than names", strict=True)
        try:
            for values in reader:
                yield reader.line_num, values
        except csv.Error as error:
            raise UsageError(f"{file}, line {reader.line_num}: {error}; nothing was written") from None


def _jsonl(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8") as lines:
        for at, text in enumerate(lines, 1):
            try:
                values = json.loads(text) if len(text) <= MOST_LINE else None
            except (ValueError, RecursionError):
                values = None
            if not isinstance(values, dict):
                raise UsageError(f"{file}, line {at} is no JSON object; nothing was written")
            yield at, values


def _parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            at = 0
            for batch in table.iter_batches(ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    at += 1
                    yield at, values
    except pa.ArrowException as error:
        raise UsageError(f"{file} is no Parquet file: {error}") from None

"""Rows about objects, as reports, manifests and events have them, as entries of a listing.

Column names are taken without case and underscores. Rows of older versions and delete markers are no entries. Knows
nothing of where rows come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fwd2bot_core.errors import UsageError
from infra.objects import ObjectInfo, ObjectStore
from infra.settings import CollectionSettings

_MODIFIED = ("lastmodifieddate", "lastmodified", "modified")
_VERSION = ("versionid", "version")


@dataclass(frozen=True, slots=True)
class Ours:
    """Which keys of a bucket are a collection's, and how its store names versions."""

    bucket: str | None  # None: no S3 store, so keys are as they are
    below: str  # the store's root in the bucket, "" or with a slash at its end
    versioned: bool

    @classmethod
    def of(cls, store: ObjectStore, settings: CollectionSettings) -> Ours:
        scheme, _, place = store.uri.partition("://")
        if scheme != "s3":
            return cls(None, "", False)
        bucket, _, root = place.partition("/")
        root = root.strip("/")
        return cls(bucket, f"{root}/" if root else "", settings.s3.versioned)

    def entry(self, row: Mapping[str, Any]) -> ObjectInfo | None:
        """None for what is no current version, or not below the store's root. Raises ``UsageError`` for a row that
        lacks what names a version."""
        said = {name.lower().replace("_", ""): value for name, value in row.items()}
        key = str(said.get("key") or "")
        gone = _yes(said.get("isdeletemarker")) or not _yes(said.get("islatest"), default=True)
        if gone or not key.startswith(self.below) or key.endswith("/"):
            return None
        version = _first(said, _VERSION) if self.versioned else None
        modified, size = _first(said, _MODIFIED), said.get("size")
        if size in (None, "") or not modified or not (version or said.get("etag")):
            raise UsageError(
                f"the row of {key!r} does not say size, etag (or version) and when it was modified: let the report or "
                f"manifest have these columns; it has {', '.join(row)}"
            )
        return ObjectInfo(
            key=key.removeprefix(self.below),
            size=int(str(size)),
            etag=str(said.get("etag") or "").strip('"'),
            version=None if version in (None, "", "null") else str(version),
            modified=moment(modified),
        )


def moment(value: Any) -> datetime:
    """A date and time of a report, in UTC where it says no zone. Raises ``UsageError``."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError(f"{value!r} is no date and time of a report") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((said[name] for name in names if said.get(name)), None)


def _yes(value: Any, *, default: bool = False) -> bool:
    if value in (None, ""):
        return default
    return value if isinstance(value, bool) else str(value).lower() == "true"

"""S3 Inventory: the reports of everything in a bucket that AWS lays down each day or week, instead of a listing.

    CONFIGURATION/2026-11-24T01-00Z/manifest.json     which data files belong together, with their checksums
    CONFIGURATION/data/....csv.gz                     (Parquet, ORC)

A report is hours old when it comes, so what it says of a key need not be true any more. Knows stores and reports.
Knows nothing of ledgers.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

from fwd2bot_core.errors import IntegrityError, UsageError
from infra.objects import ObjectInfo, ObjectStore
from infra.sources.rows import Ours
from infra.sources.tables import FORMS, rows

_MANIFEST = re.compile(r"(?:.*/)?\d{4}-\d\d-\d\dT\d\d-\d\dZ/manifest\.json")


@dataclass(frozen=True, slots=True)
class Inventory:
    """As ``Source``: one report."""

    store: ObjectStore  # the folder of the configuration's reports
    key: str  # of the report's manifest
    sha256: str  # of that
    made_at: datetime
    form: str
    columns: tuple[str, ...]  # of CSV, which has no line of them
    files: tuple[tuple[str, str], ...]  # key below the store, and MD5
    ours: Ours

    @property
    def uri(self) -> str:
        return f"{self.store.uri}/{self.key}"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Memory holds one data file. Raises ``IntegrityError`` for one that is not what the manifest says."""
        for key, md5 in self.files:
            body = self.store.read(key)
            if hashlib.md5(body, usedforsecurity=False).hexdigest() != md5:
                raise IntegrityError(
                    f"{key} in {self.store.uri} is not the file that {self.key} names: take another"
                )
            for row in rows(io.BytesIO(body), self.form, self.columns or None):
                entry = self.ours.entry(self._decoded(row))
                if entry is not None and entry.key.startswith(prefix):
                    yield entry

    def _decoded(self, row: dict[str, Any]) -> dict[str, Any]:
        """In CSV, and only there, keys are written as in a web address."""
        return row if self.form != "csv" else row | {"Key": unquote_plus(row.get("Key") or "")}


def newest(store: ObjectStore, ours: Ours) -> Inventory | None:
    """The last report in a configuration's folder; None if there is none yet."""
    found = [info.key for info in store.list("20") if _MANIFEST.fullmatch(info.key)]
    return opened(store, max(found), ours) if found else None


def opened(store: ObjectStore, key: str, ours: Ours) -> Inventory:
    """The report of a manifest. Raises ``StoreError``, and ``UsageError`` for what is no report of that bucket."""
    body = store.read(key)
    try:
        said = json.loads(body)
        form = str(said["fileFormat"]).lower()
        columns = tuple(name.strip() for name in said["fileSchema"].split(",")) if form == "csv" else ()
        files = tuple((_below(key, str(one["key"])), str(one["MD5checksum"])) for one in said["files"])
        made_at = datetime.fromtimestamp(int(said["creationTimestamp"]) / 1000, UTC)
        bucket = str(said["sourceBucket"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{key} in {store.uri} is no manifest of an S3 Inventory: {error!r}") from error
    if form not in FORMS or (ours.bucket is not None and bucket != ours.bucket):
        raise UsageError(
            f"{key} in {store.uri} is a report ({form}) of the bucket {bucket!r}, not of {ours.bucket!r}"
        )
    return Inventory(store, key, hashlib.sha256(body).hexdigest(), made_at, form, columns, files, ours)


def _below(manifest: str, key: str) -> str:
    """A data file's key below the store: manifests name it by the whole key in its bucket."""
    folder = manifest.rpartition("/")[0].rpartition("/")[0]
    name = f"data/{key.rpartition('/data/')[2]}"
    return f"{folder}/{name}" if folder else name

"""What a backfill is about where somebody has listed it already: a manifest file, or a report of S3 Inventory.

Their entries are believed: what has changed since is rejected when it is read, and the next night finds the new
version. Only files that hold several photos are opened now. Knows nothing about what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fwd2bot_core.errors import UsageError
from infra.installation import Installation
from infra.objects import ObjectInfo, open_store
from infra.sources.containers import Containers
from infra.sources.inventory import Inventory, newest, opened
from infra.sources.manifest import Manifest
from infra.sources.portions import portions
from infra.sources.protocol import Source
from infra.sources.rows import Ours

PAGE = 5_000
_MANIFEST = "manifest.json"


def of_report(house: Installation, collection: str, where: str) -> tuple[str, str]:
    """Which report lies at ``where`` (a manifest.json, or a configuration's folder, whose newest one is taken), and the
    sha256 of its manifest. Raises ``UsageError`` for none, and ``StoreError``."""
    report = _report(house, collection, where)
    return report.uri, report.sha256


def reported(
    house: Installation, collection: str, kind: str, file: str, sha256: str | None, prefix: str
) -> Iterator[ObjectInfo]:
    """The entries of a "manifest" or an "inventory". Raises ``UsageError`` for a report that is another one by now."""
    store = house.originals(collection)
    versioned = house.settings.collection(collection)[1].s3.versioned
    source: Source = (
        Manifest(Path(file), versioned)
        if kind == "manifest"
        else _same(_report(house, collection, file), sha256)
    )
    for chunk, _ in portions(source, prefix, PAGE, store if isinstance(store, Containers) else None):
        yield from chunk


def _same(report: Inventory, sha256: str | None) -> Inventory:
    if report.sha256 != sha256:
        raise UsageError(f"{report.uri} is not the report any more that this backfill began with")
    return report


def _report(house: Installation, collection: str, where: str) -> Inventory:
    _, source = house.settings.collection(collection)
    root = where if "://" in where else Path(where).resolve().as_uri()
    folder, key = root.rstrip("/"), ""
    if folder.endswith(f"/{_MANIFEST}"):
        folder, day, name = folder.rsplit("/", 2)
        key = f"{day}/{name}"
    store, ours = open_store(folder, s3=source.s3), Ours.of(house.originals(collection), source)
    report = opened(store, key, ours) if key else newest(store, ours)
    if report is None:
        raise UsageError(f"no report of S3 Inventory lies in {folder}: name the folder of one configuration")
    return report

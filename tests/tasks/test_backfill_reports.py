"""Manifests and S3 Inventory reports as what a backfill is about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwd2bot_core.errors import UsageError
from infra.installation import Installation
from infra.objects.file import FileStore
from tasks.backfill_reports import of_report
from tasks.backfill_scope import Entries, Scope, of_file
from tests.houses import COLLECTION
from tests.infra.sources.packing import photos_named, tar_of
from tests.infra.sources.reports import lay_down

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
MADE = datetime(2026, 11, 24, 1, tzinfo=UTC)


def held(house: Installation, scope: Scope) -> list[str]:
    return sorted(entry.key for entry in Entries(house, COLLECTION, scope))


@pytest.fixture
def reports(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "reports", create_root=True)


def test_a_manifest_says_what_a_listing_would(house: BuildHouse, photos: Photos, tmp_path: Path) -> None:
    photos(4)
    installation = house()
    entries = sorted(installation.originals(COLLECTION).list(), key=lambda entry: entry.key)
    manifest = tmp_path / "all.csv"
    rows = [f"{e.modified.isoformat()},{e.key},{e.etag},{e.size}" for e in entries]
    manifest.write_text("\n".join(["Last_Modified,Key,ETag,Size", *rows]) + "\n")
    file, sha256 = of_file(manifest)
    scope = Scope(kind="manifest", file=file, file_sha256=sha256)
    assert list(Entries(installation, COLLECTION, scope)) == entries
    assert held(installation, Scope(kind="manifest", file=file, file_sha256=sha256, prefix="0003")) == [
        "0003.jpg"
    ]
    assert str(scope) == f"what is in {file}"
    manifest.write_text("another")
    with pytest.raises(UsageError, match="not the list of keys any more"):
        held(installation, scope)


@pytest.mark.parametrize("body", ["no table at all\n1\n", "key,size\na.jpg,1\n"])
def test_a_manifest_that_names_no_versions_is_refused(house: BuildHouse, tmp_path: Path, body: str) -> None:
    manifest = tmp_path / "some.csv"
    manifest.write_text(body)
    file, sha256 = of_file(manifest)
    with pytest.raises(UsageError, match="does not say"):
        held(house(), Scope(kind="manifest", file=file, file_sha256=sha256))


def test_a_report_is_the_newest_of_its_folder_and_stays_the_one(
    house: BuildHouse, photos: Photos, reports: FileStore
) -> None:
    photos(3)
    installation = house()
    entries = list(installation.originals(COLLECTION).list())
    lay_down(reports, entries, MADE)
    where, sha256 = of_report(installation, COLLECTION, reports.uri)
    assert where.endswith("/reports/2026-11-24T01-00Z/manifest.json")
    scope = Scope(kind="inventory", file=where, file_sha256=sha256)
    lay_down(reports, entries[:1], MADE.replace(day=25))
    assert held(installation, scope) == sorted(entry.key for entry in entries)
    with pytest.raises(UsageError, match="not the report any more"):
        held(installation, Scope(kind="inventory", file=where, file_sha256="0" * 64))


def test_containers_in_a_report_are_opened(
    house: BuildHouse, photos: Photos, tmp_path: Path, reports: FileStore
) -> None:
    photos(1)
    (tmp_path / "photos" / "old.tar").write_bytes(tar_of(photos_named("a.jpg", "b.jpg")))
    installation = house(**{f"collections.{COLLECTION}.containers": {"archives": True}})
    lay_down(reports, list(FileStore(tmp_path / "photos").list()), MADE)
    where, sha256 = of_report(installation, COLLECTION, str(tmp_path / "reports"))
    scope = Scope(kind="inventory", file=where, file_sha256=sha256)
    assert held(installation, scope) == ["0000.jpg", "old.tar!/a.jpg", "old.tar!/b.jpg"]

"""The doctor uses each part once, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.doctor import examine
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.objects.file import FileStore
from tests.houses import COLLECTION

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def wrong(house: Installation) -> dict[str, str]:
    return {check.part: check.detail for check in examine(house) if not check.ok}


def test_a_sound_house_is_well_and_nothing_is_left_in_it(house: BuildHouse, photos: Photos) -> None:
    photos(2)
    installation = house()
    assert wrong(installation) == {}
    assert [check.part for check in examine(installation)] == [
        "ledger", "archive store", f"originals of {COLLECTION}", "compressor", "cluster"
    ]  # fmt: skip
    assert list(installation.archive.list()) == []


def test_originals_that_are_gone(house: BuildHouse, tmp_path: Path) -> None:
    installation = house()
    (tmp_path / "photos").rmdir()
    assert "There is no folder" in wrong(installation)[f"originals of {COLLECTION}"]


def test_a_bundle_that_is_none_does_not_hide_the_rest(house: BuildHouse, tmp_path: Path) -> None:
    found = wrong(house(compressor={"bundle": str(tmp_path / "nothing")}))
    assert found.keys() == {"compressor", "cluster"}


def test_a_store_that_overwrites_is_no_archive(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(store: FileStore, key: str, data: bytes) -> ObjectInfo:
        return store.replace(key, data)

    installation = house()
    monkeypatch.setattr(FileStore, "create", careless)
    assert "let a create-only put overwrite an object" in wrong(installation)["archive store"]
    assert list(installation.archive.list()) == []


def test_a_ledger_of_a_newer_software(house: BuildHouse, tmp_path: Path) -> None:
    import sqlite3

    installation = house()
    assert installation.ledger.name
    newer = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    assert wrong(house())["ledger"].startswith("the ledger ")

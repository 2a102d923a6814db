"""From names to photos: a file's keys, a pattern, photos that are read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fwd2bot_core.errors import NotInArchive, UsageError
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.object_facts import facts
from infra.retention_tables import object_facts
from infra.tables import object_versions
from tasks import people
from tasks.moments_load import load, look_again, mark
from tests.houses import COLLECTION, dated_photo, night, tiny_jpeg
from tests.tasks.signers import Signer
from tests.tasks.steps import count, rows

SOLD = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def site(house: Callable[..., Installation], tmp_path: Path) -> Installation:
    """Three photos after a night without any rule about dates."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a-2026-11-20.jpg").write_bytes(dated_photo(0, "2026:11:20 13:05:07", "+09:00"))
    (folder / "b-2026-11-21.jpg").write_bytes(tiny_jpeg(1))
    (folder / "c.jpg").write_bytes(tiny_jpeg(2))
    made = house()
    night(made)
    people.register(made.ledger, "Dee", Signer().public, [Role.DATA_TEAM])
    return made


def known(site: Installation) -> dict[str, Any]:
    with site.ledger.read() as connection:
        found = facts(connection, [row.id for row in rows(site, object_versions)])
    return {one.key[0]: one for one in found}


def test_a_files_keys(site: Installation, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("key,captured_at,tags\nc.jpg,2026-11-20T09:00Z,reject\nz.jpg,,x\n")
    done = load(site, COLLECTION, tmp_path / "m.csv", "Dee")
    assert (done.recorded.changed, done.unknown) == (1, ["z.jpg"])
    assert known(site)["c"].captured_at == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert known(site)["c"].tags == {"reject"}


def test_every_version_of_a_key_is_meant(site: Installation, tmp_path: Path) -> None:
    (tmp_path / "photos" / "c.jpg").write_bytes(tiny_jpeg(9))
    night(site)
    (tmp_path / "m.jsonl").write_text('{"key": "c.jpg", "tags": "x"}\n')
    assert load(site, COLLECTION, tmp_path / "m.jsonl", "Dee").recorded.changed == 2


def test_a_pattern_of_keys(site: Installation) -> None:
    assert mark(site, COLLECTION, "*-2026*", "Dee", dates={"sold": SOLD}).recorded.changed == 2
    assert {letter for letter, one in known(site).items() if one.dates} == {"a", "b"}
    with pytest.raises(NotInArchive):
        mark(site, COLLECTION, "none*", "Dee", dates={"sold": SOLD})
    with pytest.raises(UsageError, match="what happened"):
        mark(site, COLLECTION, "*", "Dee", dates={})


def test_photos_of_before_are_read_again(site: Installation, house: Callable[..., Installation]) -> None:
    assert count(site, object_facts) == 0
    rules = {"exif": True, "zone": "Asia/Tokyo", "name": "*-%Y-%m-%d.jpg"}
    again = house(**{f"collections.{COLLECTION}.capture": rules})
    assert look_again(again, COLLECTION, "Dee").recorded.changed == 2
    assert {letter: one.captured_by for letter, one in known(site).items()} == {
        "a": "its file (EXIF) and its key", "b": "its key", "c": ""
    }  # fmt: skip
    assert look_again(again, COLLECTION, "Dee").recorded.changed == 0
    with pytest.raises(UsageError, match="neither exif nor name"):
        look_again(site, COLLECTION, "Dee")

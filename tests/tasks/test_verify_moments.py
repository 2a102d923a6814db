"""A date that was made to look older, a tag that was taken off: each is found, wherever it was changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.retention_tables import object_dates, object_facts, object_tags
from infra.tables import object_versions
from tasks import people
from tasks.moments import Told, record
from tasks.verify import verify
from tests.houses import COLLECTION, dated_photo, night, tiny_jpeg
from tests.tasks.signers import Signer
from tests.tasks.steps import rows

OLD = datetime(2001, 1, 1, tzinfo=UTC)
TAKEN = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def site(house: Callable[..., Installation], tmp_path: Path) -> Installation:
    """One photo that its file dates, one that a person dates and tags, one that nobody dates."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(dated_photo(0, "2026:11:20 13:05:07", "+09:00"))
    (folder / "b.jpg").write_bytes(tiny_jpeg(1))
    (folder / "c.jpg").write_bytes(tiny_jpeg(2))
    made = house(**{f"collections.{COLLECTION}.capture": {"exif": True}})
    night(made)
    people.register(made.ledger, "Dee", Signer().public, [Role.DATA_TEAM])
    told = Told(number(made, "b"), captured=TAKEN, dates={"sold": TAKEN}, tags=frozenset({"reject"}))
    record(made, "Dee", [told, Told(number(made, "a"), tags=frozenset({"x"}))])
    return made


def number(site: Installation, letter: str) -> int:
    return int(
        rows(site, sa.select(object_versions.c.id).where(object_versions.c.key == f"{letter}.jpg"))[0].id
    )


def found(site: Installation, *changes: sa.Executable) -> list[str]:
    with site.ledger.write() as connection:
        for change in changes:
            connection.execute(change)
    return [f"{one.what} {one.name}" for one in verify(site.ledger, site.archive).findings]


def test_what_was_recorded_is_sound(site: Installation) -> None:
    assert found(site) == []


@pytest.mark.parametrize(
    ("letter", "change"),
    [
        ("a", object_facts.update().values(captured_at=OLD)),
        ("a", object_facts.update().values(captured_at=OLD, exif_at=OLD)),
        ("a", object_facts.update().values(captured_at=OLD, told_at=OLD, overrules=True)),
        ("b", object_facts.update().values(captured_at=OLD, told_at=OLD)),
        ("b", object_facts.update().values(captured_at=OLD, told_at=OLD, seq=0)),
        ("b", object_dates.update().values(at=OLD)),
        ("b", object_tags.delete()),
        ("a", object_tags.delete()),
    ],
)
def test_what_was_altered_is_named(site: Installation, letter: str, change: sa.Update | sa.Delete) -> None:
    its = number(site, letter)
    assert found(site, change.where(change.table.c.object_version_id == its)) == [f"moments {its}"]


def test_what_nobody_said_is_named(site: Installation) -> None:
    its = number(site, "c")
    added = object_facts.insert().values(object_version_id=its, captured_at=OLD, exif_at=OLD)
    dated = object_dates.insert().values(object_version_id=its, name="sold", at=OLD)
    assert found(site, added) == [f"moments {its}"]
    assert found(site, object_facts.delete().where(object_facts.c.object_version_id == its), dated) == [
        "moments 3"
    ]

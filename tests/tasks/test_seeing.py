"""Looking at an original: for some roles, logged first, small, and nothing of the file but its pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from fwd2bot_core.errors import AccessDenied, NotInArchive, ObjectMissing, UsageError
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.tables import object_versions
from tasks import people, seeing
from tests.houses import night
from tests.tasks.signers import Signer
from tests.tasks.steps import events, rows


@pytest.fixture
def made(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> Installation:
    photos(2)[1].write_bytes(b"broken")
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    Image.new("RGB", (2000, 900), "red").save(tmp_path / "photos" / "0000.jpg", exif=exif)
    opened = house()
    night(opened)
    for name, role in (("Ann", Role.APPROVER), ("Oda", Role.OPERATOR)):
        people.register(opened.ledger, name, Signer().public, [role])
    return opened


def number(house: Installation, key: str) -> int:
    return int(rows(house, sa.select(object_versions.c.id).where(object_versions.c.key == key))[0].id)


def test_a_picture_is_small_bare_and_logged(made: Installation) -> None:
    data = seeing.picture(made, "Ann", number(made, "0000.jpg"))
    with Image.open(io.BytesIO(data)) as shown:
        assert (shown.format, shown.size) == ("JPEG", (480, 216))
        assert not shown.getexif()
    assert b"secret" not in data
    (event,) = events(made, seeing.EVENT)
    assert event["actor"]["role"] == "approver"
    assert "0000" not in str(event)


def test_who_may_not_sees_nothing_and_is_written_down(made: Installation) -> None:
    with pytest.raises(AccessDenied, match=r"original\.see is for"):
        seeing.picture(made, "Oda", number(made, "0000.jpg"))
    assert len(events(made, "access.denied")) == 1
    assert not events(made, seeing.EVENT)


def test_what_cannot_be_shown_says_why(made: Installation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shows no picture"):
        seeing.picture(made, "Ann", number(made, "0001.jpg"))
    with pytest.raises(NotInArchive, match="no object version 99"):
        seeing.picture(made, "Ann", 99)
    (tmp_path / "photos" / "0000.jpg").unlink()
    with pytest.raises(ObjectMissing):
        seeing.picture(made, "Ann", number(made, "0000.jpg"))
    with made.ledger.write() as connection:
        connection.execute(object_versions.update().values(destroyed_seq=1))
    with pytest.raises(NotInArchive, match="is destroyed"):
        seeing.picture(made, "Ann", number(made, "0000.jpg"))

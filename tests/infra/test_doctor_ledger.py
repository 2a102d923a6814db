"""The doctor at the ledger: full disks, clocks that differ, databases that are too old; each told with its cure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from infra import database, doctor_ledger, doctor_limits
from infra.installation import Installation
from tests.infra.test_doctor import wrong_places

BuildHouse = Callable[..., Installation]


def test_a_disk_that_is_nearly_full(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_limits, "ROOM", 2**60)
    found = wrong_places(house())
    assert found.keys() == {"ledger", "archive store"}
    for said in found.values():
        assert "MiB left, and a full one refuses commits: make room at " in said


def test_a_postgresql_that_is_too_old_is_named_before_anything_is_made_in_it(
    house: BuildHouse, postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is real; what is asked of it is a version that is none yet."""
    monkeypatch.setattr(database, "OLDEST_POSTGRESQL", 99)
    url = postgres_url()
    said = wrong_places(house(archive={"ledger": url}))["ledger"]
    assert "is on PostgreSQL 1" in said
    assert "99 is the oldest version that Fwd2Bot works with: upgrade the server" in said
    engine = sa.create_engine(url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_database_whose_clock_is_another(
    house: BuildHouse, postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = house(archive={"ledger": postgres_url()})
    assert "ledger" not in wrong_places(installation)

    class Late(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) - timedelta(minutes=5)

    monkeypatch.setattr(doctor_ledger, "datetime", Late)
    said = wrong_places(installation)["ledger"]
    assert "s ahead of ours: let both machines follow one time server" in said

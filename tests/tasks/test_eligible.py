"""The retention calendar: each photo in the month in which its period ends, in the policy's own zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from infra.installation import Installation
from infra.retention_tables import object_facts
from tasks import eligible
from tasks.simulation import Amount
from tests.tasks.dispositions import POLICY, Site, clock, furnished, put_in_force, serious

NOW = datetime(2030, 11, 15, tzinfo=UTC)


@pytest.fixture
def site(house: Callable[..., Installation], monkeypatch: pytest.MonkeyPatch, ledger_url: str) -> Site:
    serious(monkeypatch)
    return furnished(house, 4, ledger_url)


def test_a_photo_is_due_in_the_month_in_which_its_period_ends(site: Site) -> None:
    put_in_force(site)
    taken = {site.photos[0]: 2022, site.photos[1]: 2023, site.photos[2]: 2023, site.photos[3]: 2024}
    with site.house.ledger.write() as connection:
        for number, year in taken.items():
            connection.execute(
                object_facts.update()
                .where(object_facts.c.object_version_id == number)
                .values(captured_at=datetime(year, 5, 1, tzinfo=UTC))
            )
    with clock(NOW):
        (found,) = eligible.calendars(site.house)
    assert (found.policy, found.version, found.stage, found.problem) == (POLICY, 1, "enforce", None)
    assert found.due.objects == 1
    assert [month.newly.objects for month in found.months] == [0, 2] + [0] * 10
    assert found.months[1].newly.bytes > 0
    # Tokyo's months: December begins at 15:00 of the last of November, UTC
    assert found.months[1].begins == datetime(2030, 11, 30, 15, tzinfo=UTC)
    assert found.months[-1].begins == datetime(2031, 9, 30, 15, tzinfo=UTC)


def test_without_a_policy_in_force_nothing_becomes_due(site: Site) -> None:
    assert eligible.calendars(site.house) == []


def test_a_policy_about_what_is_not_known_says_so(site: Site) -> None:
    put_in_force(site, site.text().replace("line-1]", "line-9]"))
    with clock(NOW):
        (found,) = eligible.calendars(site.house)
    assert found.months == ()
    assert found.due == Amount()
    assert found.problem is not None
    assert "line-9" in found.problem

"""What may go now: within the limits, by SQL and its twin alike, and no list speaks for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwd2bot_core.errors import BlockedByPolicy
from fwd2bot_core.retention import drawing
from fwd2bot_core.retention.disposition import ItemState
from infra.installation import Installation
from infra.retention_tables import disposition_items, disposition_lists, object_tags
from infra.tables import object_versions
from tasks import candidates, disposition
from tests.tasks.dispositions import POLICY, Site, furnished, put_in_force, serious
from tests.tasks.steps import rows


@pytest.fixture(autouse=True)
def _serious(monkeypatch: pytest.MonkeyPatch) -> None:
    serious(monkeypatch)


@pytest.fixture
def both(house: Callable[..., Installation], ledger_url: str) -> Site:
    """The same on each database."""
    return furnished(house, 6, ledger_url)


@pytest.fixture
def site(house: Callable[..., Installation]) -> Site:
    return furnished(house, 6)


def test_a_pilot_lists_its_share(site: Site) -> None:
    document = put_in_force(site, site.text().replace("stage: enforce", "stage: pilot, share: 50 %"))
    share = document.policy.rollout.share
    contents = [row.content_sha256 for row in rows(site.house, object_versions)]
    wanted = sum(drawing.in_pilot(content, share) for content in contents)
    assert 0 < wanted < 6
    assert [one.objects for one in disposition.make(site.house, POLICY, "Oda")] == [wanted]


@pytest.mark.parametrize(
    ("limit", "smaller", "said"),
    [
        ("objects: 20000", "objects: 5", "6 of 6 photos .* 5 objects"),
        ("percent: 100 %", "percent: 99 %", "99 %"),
        ("bytes: 500 GB", "bytes: 100 B", "100 bytes"),
    ],
)
def test_more_than_the_limits_is_no_list_at_all(site: Site, limit: str, smaller: str, said: str) -> None:
    put_in_force(site, site.text().replace(limit, smaller))
    with pytest.raises(BlockedByPolicy, match=f"{said}. No list was made"):
        disposition.make(site.house, POLICY, "Oda")
    assert not rows(site.house, disposition_lists)
    assert not list(site.house.archive.list("disposition/"))


def test_what_sql_lets_go_and_its_twin_does_not_is_no_list(
    both: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a condition were missing in SQL: of the two, the one that keeps wins, and nothing is listed."""
    put_in_force(both)
    with both.house.ledger.write() as connection:
        tag = {"object_version_id": both.photos[3], "tag": "disputed"}
        connection.execute(object_tags.insert().values(**tag))
    real = candidates.stream
    monkeypatch.setattr(candidates, "stream", lambda *terms: ((number, 0) for number, _ in real(*terms)))
    with pytest.raises(BlockedByPolicy, match=f"object version {both.photos[3]} .* our fault"):
        disposition.make(both.house, POLICY, "Oda")
    assert not rows(both.house, disposition_lists)


@pytest.mark.parametrize(
    ("state", "again"), [(ItemState.BLOCKED, 1), (ItemState.RESCUED, 1), (ItemState.MISSING, 0)]
)
def test_what_left_a_list_may_come_again_unless_it_is_gone(site: Site, state: ItemState, again: int) -> None:
    put_in_force(site)
    disposition.make(site.house, POLICY, "Oda")
    with site.house.ledger.write() as connection:
        mine = disposition_items.c.object_version_id == site.photos[0]
        connection.execute(disposition_items.update().where(mine).values(state=state))
    assert [one.objects for one in disposition.make(site.house, POLICY, "Oda")] == [1] * again

"""Rescues: by anybody who is registered, only of what is still listed, each a fact about its image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, UsageError
from fwd2bot_core.retention.disposition import ItemState
from infra.installation import Installation
from infra.retention_tables import disposition_items
from tasks.rescue import rescue
from tests.tasks.dispositions import Site, furnished, listed, put_in_force, serious
from tests.tasks.steps import events, rows


@pytest.fixture(autouse=True)
def _serious(monkeypatch: pytest.MonkeyPatch) -> None:
    serious(monkeypatch)


@pytest.fixture
def both(house: Callable[..., Installation], ledger_url: str) -> Site:
    """On each database."""
    made = furnished(house, 4, ledger_url)
    put_in_force(made)
    return made


def test_anybody_registered_takes_photos_off_and_each_is_a_fact_about_its_image(both: Site) -> None:
    made = listed(both)
    first, meant, *_ = both.photos
    with both.house.ledger.write() as connection:
        mine = disposition_items.c.object_version_id == meant
        connection.execute(disposition_items.update().where(mine).values(state=ItemState.INTENT))
    done = rescue(both.house, made.id, "Dee", [first, meant, 99])
    assert (done.done, done.refused) == ([first], {meant: "intent", 99: "not on this list"})
    ordered = rows(both.house, sa.select(disposition_items).order_by("number"))
    assert [row.state for row in ordered] == ["rescued", "intent", "listed", "listed"]
    (event,) = events(both.house, "list.rescued")
    assert (event["subject"]["object_version"], event["after"]["list"]) == (first, made.id)
    with pytest.raises(AccessDenied, match="not registered"):
        rescue(both.house, made.id, "Nobody", both.photos)
    assert rescue(both.house, made.id, "Dee", [first]).refused == {first: "rescued"}
    assert event["subject"]["n"] == 1  # after the line of the night that compressed it


def test_a_list_that_nobody_knows_has_nothing_to_take_off(both: Site) -> None:
    with pytest.raises(UsageError, match="no disposition list"):
        rescue(both.house, "other", "Dee", both.photos)

"""Disposition lists: made only by a policy in force and within its limits, immutable, each photo once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.errors import BlockedByPolicy
from fwd2bot_core.retention.disposition import ListState, read_list
from infra.installation import Installation
from infra.retention_tables import disposition_items, disposition_lists
from tasks import disposition
from tests.tasks.dispositions import POLICY, Site, furnished, put_in_force, serious
from tests.tasks.steps import events, rows


@pytest.fixture(autouse=True)
def _serious(monkeypatch: pytest.MonkeyPatch) -> None:
    serious(monkeypatch)


@pytest.fixture
def site(house: Callable[..., Installation]) -> Site:
    return furnished(house, 6)


@pytest.fixture
def both(house: Callable[..., Installation], ledger_url: str, tmp_path: Path) -> Site:
    """The same on each database."""
    return furnished(house, 6, ledger_url)


def test_a_list_holds_what_may_go_sorted_and_word_for_word(both: Site) -> None:
    document = put_in_force(both)
    (made,) = disposition.make(both.house, POLICY, "Oda")
    heading, items = read_list(both.house.archive.read(made.path), made.sha256)
    assert [item["object_version_id"] for item in items] == both.photos
    assert [item["key"] for item in items] == sorted(item["key"] for item in items)
    assert {item["rule"] for item in items} == {"trays"}
    assert items[0]["not_before"] == "2022-12-31T15:00:00.000000Z"
    assert (heading["policy_sha256"], heading["approvals"]) == (document.sha256, 2)
    (row,) = rows(both.house, disposition_lists)
    assert (row.id, row.state, row.objects, row.grace_until) == (made.id, "open", 6, None)
    assert made.state is ListState.OPEN
    assert [(i.object_version_id, i.number, i.state) for i in rows(both.house, disposition_items)] == [
        (number, at, "listed") for at, number in enumerate(both.photos)
    ]
    (event,) = events(both.house, "list.made")
    assert (event["subject"]["list_sha256"], event["after"]["objects"]) == (made.sha256, 6)
    assert event["policy"] == document.reference()


def test_what_is_listed_is_not_listed_again(both: Site) -> None:
    put_in_force(both)
    assert len(disposition.make(both.house, POLICY, "Oda")) == 1
    assert disposition.make(both.house, POLICY, "Oda") == []


def test_without_a_policy_in_force_there_is_no_list(site: Site) -> None:
    with pytest.raises(BlockedByPolicy, match="no version"):
        disposition.make(site.house, POLICY, "Oda")

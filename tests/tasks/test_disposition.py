"""Disposition lists: made only by a policy in force and within its limits, immutable, each photo once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, BlockedByPolicy
from fwd2bot_core.retention.disposition import ListState, read_list
from infra import audit_log
from infra.installation import Installation
from infra.retention_tables import disposition_items, disposition_lists
from tasks import disposition, holds, policies
from tests.tasks.dispositions import POLICY, Site, clock, furnished, put_in_force, serious
from tests.tasks.steps import events, rows


@pytest.fixture(autouse=True)
def _serious(monkeypatch: pytest.MonkeyPatch) -> None:
    serious(monkeypatch)


@pytest.fixture
def site(house: Callable[..., Installation]) -> Site:
    return furnished(house, 6)


@pytest.fixture
def both(house: Callable[..., Installation], ledger_url: str) -> Site:
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
    assert [
        (i.object_version_id, i.number, i.state)
        for i in rows(both.house, sa.select(disposition_items).order_by("number"))
    ] == [(number, at, "listed") for at, number in enumerate(both.photos)]
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


def test_a_policy_that_observes_lists_nothing(site: Site) -> None:
    put_in_force(site, site.text().replace("stage: enforce", "stage: observe"))
    with pytest.raises(BlockedByPolicy, match="only observes"):
        disposition.make(site.house, POLICY, "Oda")


def test_only_an_operator_or_compliance_makes_a_list(site: Site) -> None:
    put_in_force(site)
    with pytest.raises(AccessDenied, match="is for compliance or operator"):
        disposition.make(site.house, POLICY, "Ann")
    assert len(events(site.house, "access.denied")) == 1
    assert len(disposition.make(site.house, POLICY, "Nika")) == 1


def test_what_is_held_while_the_list_is_written_is_blocked_on_it(
    both: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_force(both)

    def hold_one(step: str) -> None:
        if step == "list.manifest-written":
            holds.place(both.house, "Nika", "case", "r", both.photos[:1])

    monkeypatch.setattr(disposition, "reach", hold_one)
    disposition.make(both.house, POLICY, "Oda")
    ordered = sa.select(disposition_items).order_by(disposition_items.c.number)
    states = [row.state for row in rows(both.house, ordered)]
    assert states == ["blocked"] + ["listed"] * 5
    assert events(both.house, "list.made")[0]["after"]["held_meanwhile"] == 1


def test_two_lists_made_at_once_never_name_one_photo(both: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_force(both)
    first = []

    def make_another(step: str) -> None:
        if step == "list.manifest-written" and not first:
            first.append(step)
            first.extend(disposition.make(both.house, POLICY, "Nika"))

    monkeypatch.setattr(disposition, "reach", make_another)
    with pytest.raises(BlockedByPolicy, match="another list was made meanwhile"):
        disposition.make(both.house, POLICY, "Oda")
    assert [row.id for row in rows(both.house, disposition_lists)] == [first[1].id]
    assert len(rows(both.house, disposition_items)) == 6


def test_a_policy_that_was_replaced_meanwhile_makes_no_list(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_force(site)

    def retire(step: str) -> None:
        policies.retire(site.house.ledger, POLICY, 1, "Pia", "stop")

    monkeypatch.setattr(disposition, "reach", retire)
    with pytest.raises(BlockedByPolicy, match="no version"):
        disposition.make(site.house, POLICY, "Oda")
    assert not rows(site.house, disposition_lists)


def test_a_clock_in_doubt_makes_no_list(site: Site) -> None:
    put_in_force(site)
    with clock(audit_log.now() + timedelta(days=400)), pytest.raises(BlockedByPolicy, match="clock"):
        disposition.make(site.house, POLICY, "Oda")

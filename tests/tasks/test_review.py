"""Approvals, refusals, rescues and expiry of disposition lists; whoever may not is refused, and that is an event."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, BlockedByPolicy, IntegrityError, SignatureRefused, UsageError
from fwd2bot_core.retention.disposition import ItemState, ListState
from infra import audit_log
from infra.installation import Installation
from infra.retention_tables import approvals, disposition_items, disposition_lists
from tasks import disposition, disposition_view, people, policies, review
from tasks.disposition import Made
from tests.tasks.dispositions import POLICY, Site, clock, furnished, listed, put_in_force, serious
from tests.tasks.steps import events, rows

GRACE = timedelta(days=30)


@pytest.fixture(autouse=True)
def _serious(monkeypatch: pytest.MonkeyPatch) -> None:
    serious(monkeypatch)


@pytest.fixture
def site(house: Callable[..., Installation]) -> Site:
    made = furnished(house, 4)
    put_in_force(made)
    return made


@pytest.fixture
def both(house: Callable[..., Installation], ledger_url: str) -> Site:
    """The same on each database."""
    made = furnished(house, 4, ledger_url)
    put_in_force(made)
    return made


def signature(site: Site, made: Made, name: str, *, approved: bool = True, signer: str = "") -> str:
    with site.house.ledger.read() as connection:
        said = review.statement(connection, made.id, name, approved=approved, reason="seen")
    return site.signers[signer or name].sign(said)


def approve(site: Site, made: Made, name: str) -> ListState:
    return review.approve(site.house, made.id, name, "seen", signature(site, made, name))


def refuse(site: Site, made: Made, name: str) -> ListState:
    return review.refuse(site.house, made.id, name, "seen", signature(site, made, name, approved=False))


def state(site: Site, made: Made) -> str:
    return next(row.state for row in rows(site.house, disposition_lists) if row.id == made.id)


def made_at(site: Site) -> datetime:
    return rows(site.house, disposition_lists)[0].made_at


def items(site: Site) -> list[str]:
    return [row.state for row in rows(site.house, sa.select(disposition_items).order_by("number"))]


def denied(site: Site) -> list[str]:
    return [event["reason_code"] for event in events(site.house, "access.denied")]


def test_the_last_needed_approval_starts_the_grace_period(both: Site) -> None:
    made = listed(both)
    assert approve(both, made, "Ann") is ListState.OPEN
    assert rows(both.house, disposition_lists)[0].grace_until is None
    before = audit_log.now()
    assert approve(both, made, "Ben") is ListState.GRACE
    (row,) = rows(both.house, disposition_lists)
    assert row.grace_until - before >= GRACE  # whole days, from the end of today in the policy's zone
    assert row.grace_until - before <= GRACE + timedelta(days=1, minutes=1)
    assert row.grace_until.astimezone(ZoneInfo("Asia/Tokyo")).hour == 0
    assert row.expires_at == row.grace_until + disposition.LIFE
    said = events(both.house, "list.approved")
    assert [event["after"]["state"] for event in said] == ["open", "grace"]
    assert "Ann" not in json.dumps(said)
    assert denied(both) == []


def test_an_automatic_policy_starts_it_at_once(house: Callable[..., Installation]) -> None:
    site = furnished(house, 2)
    put_in_force(site, site.text().replace("mode: reviewed, approvals: 2", "mode: automatic"))
    made = listed(site)
    assert (made.state, made.grace_until is not None) == (ListState.GRACE, True)
    with pytest.raises(BlockedByPolicy, match="waits for no approval"):
        approve(site, made, "Ann")


def test_who_may_not_approve_is_refused_and_that_is_an_event(both: Site) -> None:
    made = listed(both)
    with both.house.ledger.write() as connection:  # as if the authors were approvers, too
        for name in ("Oda", "Pia"):
            person = people.find(connection, name)
            connection.execute(people.person_roles.insert().values(person_id=person.id, role="approver"))
    approve(both, made, "Ann")
    people.revoke(both.house.ledger, "Cem", "left")
    wrong = {
        "Oda": "made list",  # the author of the list
        "Pia": "wrote the policy",
        "Ann": "decided about list .* already",
        "Cem": "was revoked",
        "Dee": "is for approver",
        "Nobody": "not registered",
    }
    for name, why in wrong.items():
        signed = signature(both, made, name, signer=name if name in both.signers else "Ben")
        with pytest.raises(AccessDenied, match=why):
            review.approve(both.house, made.id, name, "seen", signed)
    assert denied(both) == ["AccessDenied"] * len(wrong)
    assert len(rows(both.house, approvals)) == 1
    assert state(both, made) == "open"


def test_only_a_signature_over_this_list_and_these_words_counts(site: Site) -> None:
    made = listed(site)
    refuse(site, made, "Nika")
    again = listed(site)
    with site.house.ledger.read() as connection:
        other = review.statement(connection, again.id, "Ben", approved=True, reason="another reason")
    wrong = [
        signature(site, made, "Ben"),  # of another list
        signature(site, again, "Ben", approved=False),
        signature(site, again, "Ben", signer="Ann"),
        site.signers["Ben"].sign(other),
        "",
    ]
    for each in wrong:
        with pytest.raises(SignatureRefused):
            review.approve(site.house, again.id, "Ben", "seen", each)
    assert denied(site) == ["SignatureRefused"] * len(wrong)
    assert state(site, again) == "open"


def test_an_approver_who_was_revoked_does_not_count_any_more(site: Site) -> None:
    made = listed(site)
    approve(site, made, "Ann")
    people.revoke(site.house.ledger, "Ann", "left")
    assert approve(site, made, "Ben") is ListState.OPEN
    assert approve(site, made, "Cem") is ListState.GRACE


def test_an_approval_that_was_changed_in_the_ledger_does_not_count(site: Site) -> None:
    made = listed(site)
    approve(site, made, "Ann")
    with site.house.ledger.write() as connection:
        connection.execute(approvals.update().values(reason="other words"))
    assert approve(site, made, "Ben") is ListState.OPEN


def test_one_refusal_ends_a_list_also_in_its_grace_by_who_approved_it(site: Site) -> None:
    made = listed(site)
    approve(site, made, "Ann")
    approve(site, made, "Ben")
    assert refuse(site, made, "Ben") is ListState.REFUSED
    with pytest.raises(BlockedByPolicy, match="is refused"):
        refuse(site, made, "Ann")
    with pytest.raises(BlockedByPolicy, match="is refused"):
        approve(site, made, "Cem")
    (event,) = events(site.house, "list.refused")
    assert (event["before"]["state"], event["reason_text"]) == ("grace", "seen")
    again = listed(site)
    with pytest.raises(AccessDenied, match="approver or compliance"):
        refuse(site, again, "Dee")


def test_a_list_whose_policy_was_replaced_is_not_approved(site: Site) -> None:
    made = listed(site)
    put_in_force(site, site.text().replace("version: 1", "version: 2"))
    with pytest.raises(BlockedByPolicy, match="not in force"):
        approve(site, made, "Ann")
    policies.retire(site.house.ledger, POLICY, 2, "Pia", "wrong")
    with pytest.raises(BlockedByPolicy, match="no version"):
        approve(site, made, "Ann")


def test_a_manifest_that_was_changed_is_not_approved_and_not_shown(site: Site) -> None:
    made = listed(site)
    site.house.archive.replace(made.path, site.house.archive.read(made.path) + b"{}\n")
    with pytest.raises(IntegrityError, match="is not list"):
        approve(site, made, "Ann")
    with pytest.raises(IntegrityError, match="is not list"):
        disposition_view.show(site.house, made.id)
    assert refuse(site, made, "Ann") is ListState.REFUSED


def test_a_decision_has_a_reason_and_a_list(site: Site) -> None:
    made = listed(site)
    with site.house.ledger.read() as connection:
        with pytest.raises(UsageError, match="say why"):
            review.statement(connection, made.id, "Ann", approved=True, reason=" ")
        with pytest.raises(UsageError, match="no disposition list"):
            review.statement(connection, "other", "Ann", approved=True, reason="r")


def test_old_lists_expire_and_their_photos_may_be_listed_again(site: Site) -> None:
    made = listed(site)
    assert review.expire(site.house.ledger) == []
    with site.house.ledger.write() as connection:
        connection.execute(disposition_lists.update().values(expires_at=made_at(site)))
    with pytest.raises(BlockedByPolicy, match="is expired"):
        approve(site, made, "Ann")
    assert disposition.make(site.house, POLICY, "Oda") == []
    assert review.expire(site.house.ledger) == [made.id]
    assert review.expire(site.house.ledger) == []
    with pytest.raises(BlockedByPolicy, match="is expired"):
        approve(site, made, "Ann")
    assert events(site.house, "list.expired")[0]["subject"]["list"] == made.id
    assert listed(site).objects == 4


def test_a_list_that_is_being_carried_out_does_not_expire(site: Site) -> None:
    listed(site)
    with site.house.ledger.write() as connection:
        mine = disposition_items.c.object_version_id == site.photos[0]
        connection.execute(disposition_items.update().where(mine).values(state=ItemState.UNKNOWN))
    with clock(audit_log.now() + disposition.LIFE):
        assert review.expire(site.house.ledger) == []


def test_a_clock_that_went_back_starts_no_grace(site: Site) -> None:
    """It would be over as soon as the clock is set right again."""
    made = listed(site)
    approve(site, made, "Ann")
    with clock(audit_log.now() - timedelta(days=365)), pytest.raises(BlockedByPolicy, match="clock says"):
        approve(site, made, "Ben")
    assert state(site, made) == ListState.OPEN
    assert approve(site, made, "Ben") == ListState.GRACE

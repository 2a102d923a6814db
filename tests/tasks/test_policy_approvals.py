"""Approvals of policies: whose signature counts, for which version, how many, and how long it cools off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fwd2bot_core.errors import AccessDenied, BlockedByPolicy, SignatureRefused
from infra.retention_tables import policy_approvals as approvals
from tasks import people, policies, policy_approvals
from tasks.policies import PolicyState
from tests.core.retention.policies import TEXT
from tests.tasks.dispositions import POLICY
from tests.tasks.policy_office import Office, opened, version


@pytest.fixture
def office(ledger_url: str) -> Iterator[Office]:
    with opened(ledger_url) as made:
        yield made


def test_what_may_destroy_needs_two_and_a_week(office: Office) -> None:
    document = office.draft()
    assert office.events("policy.drafted")[0]["after"]["loosenings"] == 1
    office.approve(document, "Ann")
    with pytest.raises(BlockedByPolicy, match=r"1 of 2 approvals .*rollout"):
        office.activate(document, after=timedelta(days=30))
    office.approve(document, "Ben")
    with pytest.raises(BlockedByPolicy, match="cools off until"):
        office.activate(document, after=timedelta(days=6, hours=23))
    assert office.states() == ["approved"]
    office.activate(document, after=timedelta(days=7))


@pytest.mark.parametrize(
    ("was", "now"), [("P7Y", "P6Y"), ("0.95", "0.9"), ("objects: 20000", "objects: 20001")]
)
def test_what_lets_more_go_than_the_one_in_force_needs_two_and_a_week(
    office: Office, was: str, now: str
) -> None:
    office.in_force()
    looser = office.draft(version(2, TEXT.replace(was, now)))
    assert office.approve(looser, "Ann") is PolicyState.DRAFT
    office.approve(looser, "Ben")
    with pytest.raises(BlockedByPolicy, match="cools off"):
        office.activate(looser)
    assert office.active().policy.version == 1


def test_who_may_not_approve_is_refused_and_that_is_an_event(office: Office) -> None:
    document = office.draft()
    office.approve(document, "Ann")
    people.revoke(office.ledger, "Ben", "left")
    wrong = {"Pia": "drafted this version", "Ann": "already", "Ben": "revoked", "Oda": "is for approver"}
    for name, why in wrong.items():
        with pytest.raises(AccessDenied, match=why):
            office.approve(document, name)
    with pytest.raises(SignatureRefused):
        office.approve(document, "Ann", signer="Oda")
    assert len(office.events("access.denied")) == len(wrong) + 1
    with pytest.raises(AccessDenied, match="is for policy_author"):
        office.draft(version(2), by="Ann")
    with pytest.raises(AccessDenied, match="is for approver or policy_author"):
        policies.activate(office.ledger, POLICY, 1, "Oda")
    assert office.states() == ["draft"]


def test_an_approval_counts_for_its_own_version_only(office: Office) -> None:
    first, second = office.draft(), office.draft(version(2))
    said = policy_approvals.statement(first, "Ann", "read")
    with pytest.raises(SignatureRefused, match="other bytes"):
        policies.approve(office.ledger, POLICY, 2, "Ann", "read", office.signers["Ann"].sign(said))
    assert second.sha256 != first.sha256


def test_who_is_revoked_before_it_is_active_does_not_count(office: Office) -> None:
    document = office.draft()
    office.approve(document, "Ann")
    office.approve(document, "Ben")
    people.revoke(office.ledger, "Ben", "left")
    with pytest.raises(BlockedByPolicy, match="1 of 2"):
        office.activate(document, after=timedelta(days=30))


def test_signatures_that_were_changed_in_the_ledger_do_not_count(office: Office) -> None:
    document = office.draft()
    office.approve(document, "Ann")
    office.approve(document, "Ben")
    office.change(approvals.update().values(reason="other words"))
    with pytest.raises(BlockedByPolicy, match="0 of 2"):
        office.activate(document, after=timedelta(days=30))

"""Versions of policies: exact bytes, one in force, compared with what it replaces, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from fwd2bot_core.errors import BlockedByPolicy, IntegrityError, UsageError
from infra.retention_tables import policies as table
from tasks import people, policies, policy_approvals
from tasks.policies import PolicyState
from tests.core.retention.policies import TEXT
from tests.tasks.dispositions import POLICY
from tests.tasks.policy_office import PEOPLE, Office, opened, version

OBSERVING = TEXT.replace("stage: enforce", "stage: observe")


@pytest.fixture
def office(ledger_url: str) -> Iterator[Office]:
    with opened(ledger_url) as made:
        yield made


def test_a_version_goes_from_draft_to_retired_word_for_word(office: Office) -> None:
    text = "# why it is so\n" + TEXT
    document = office.draft(text)
    assert document.data == text.encode()
    assert office.states() == ["draft"]
    assert office.approve(document, "Ann") is PolicyState.DRAFT
    assert office.approve(document, "Ben") is PolicyState.APPROVED
    office.activate(document, after=policy_approvals.COOLING_OFF)
    assert office.active() == document
    policies.retire(office.ledger, POLICY, 1, "Nika", "it was wrong")
    assert office.states() == ["retired"]
    kinds = ("drafted", "approved", "approved", "activated", "retired")
    told = [e for kind in dict.fromkeys(kinds) for e in office.events(f"policy.{kind}")]
    assert [e["type"] for e in told] == [f"policy.{kind}" for kind in kinds]
    assert all(e["policy"] == document.reference() for e in told)
    assert [e["after"]["state"] for e in told] == ["draft", "draft", "approved", "active", "retired"]
    assert not any(name in json.dumps(told) for name in PEOPLE)


def test_what_lets_no_more_go_needs_one_and_no_week(office: Office) -> None:
    office.in_force()
    stricter = office.draft(version(2, TEXT.replace("P7Y", "P8Y")))
    assert office.approve(stricter, "Ann") is PolicyState.APPROVED
    office.activate(stricter)
    assert office.states() == ["retired", "active"]
    observing = office.draft(version(3, OBSERVING))
    assert office.approve(observing, "Ann") is PolicyState.APPROVED
    office.activate(observing)


def test_what_it_is_compared_with_is_what_is_in_force_when_it_is_activated(office: Office) -> None:
    """Approved as no looser than a version that was retired meanwhile: then it is looser than nothing."""
    office.in_force()
    same = office.draft(version(2))
    assert office.approve(same, "Ann") is PolicyState.APPROVED
    policies.retire(office.ledger, POLICY, 1, "Pia", "pause")
    with pytest.raises(BlockedByPolicy, match="1 of 2"):
        office.activate(same, after=timedelta(days=30))
    assert office.approve(same, "Ben") is PolicyState.APPROVED
    office.activate(same, after=timedelta(days=30))


def test_who_is_revoked_later_does_not_end_it(office: Office) -> None:
    office.in_force()
    for name in ("Ann", "Ben"):
        people.revoke(office.ledger, name, "left")
    assert office.active().policy.version == 1


def test_versions_are_never_changed_nor_taken_back(office: Office) -> None:
    office.in_force(version(2))
    for text in (version(2), version(1), version(2, TEXT.replace("P7Y", "P9Y"))):
        with pytest.raises(UsageError, match="version: 3"):
            office.draft(text)
    older = office.draft(version(3))
    office.in_force(version(4, TEXT.replace("P7Y", "P8Y")))
    office.approve(older, "Ann")
    office.approve(older, "Ben")
    with pytest.raises(UsageError, match="older than the one in force"):
        office.activate(older, after=timedelta(days=30))
    with pytest.raises(UsageError, match="waits for no approval"):
        office.approve(office.active(), "Ann")
    for number, said in ((9, "not known"), (2, "retired already")):
        with pytest.raises(UsageError, match=said):
            policies.retire(office.ledger, POLICY, number, "Pia", "r")


def test_a_policy_that_is_none_is_not_drafted(office: Office) -> None:
    with pytest.raises(UsageError, match=r"policy: rules\.0\.retain"):
        office.draft(TEXT.replace("P7Y", "7 years"))
    assert office.states() == []


def test_a_row_that_was_changed_in_the_ledger_lets_nothing_go(office: Office) -> None:
    with pytest.raises(BlockedByPolicy, match="no version"):
        office.active()
    document = office.draft()
    office.change(table.update().values(state="active", active_at=datetime.now().astimezone()))
    with pytest.raises(IntegrityError, match="nobody signed"):
        office.active()
    office.change(table.update().values(state="draft"))
    office.approve(document, "Ann")
    office.approve(document, "Ben")
    office.activate(document, after=policy_approvals.COOLING_OFF)
    office.change(table.update().values(meaning_sha256="0" * 64))
    with pytest.raises(BlockedByPolicy, match=r"reads .* otherwise"):
        office.active()
    office.change(table.update().values(yaml=TEXT.replace("P7Y", "P1Y").encode()))
    with pytest.raises(IntegrityError, match="other bytes"):
        office.active()
    policies.retire(office.ledger, POLICY, 1, "Pia", "it was changed")  # all the same
    assert office.states() == ["retired"]


def test_a_collection_has_one_policy_in_force(office: Office) -> None:
    """Else a second one with a shorter period would let go what the first one keeps."""
    first = office.draft(OBSERVING)
    office.approve(first, "Ann")
    office.activate(first)
    other = office.draft(OBSERVING.replace("id: line-1-originals", "id: second").replace("P7Y", "P1Y"))
    said = policy_approvals.statement(other, "Ann", "read")
    policies.approve(office.ledger, "second", 1, "Ann", "read", office.signers["Ann"].sign(said))
    with pytest.raises(
        BlockedByPolicy, match="'line-1-originals' is in force for line-1; a collection has one"
    ):
        policies.activate(office.ledger, "second", 1, "Pia")
    policies.retire(office.ledger, POLICY, 1, "Nika", "merged into the second")
    assert policies.activate(office.ledger, "second", 1, "Pia").policy.id == "second"


def test_a_draft_that_was_tried_out_says_so_and_may_be_approved(office: Office) -> None:
    document = office.draft()
    assert policies.note_simulated(office.ledger, document, {"due": 3})
    assert not policies.note_simulated(office.ledger, document, {"due": 3})
    assert office.states() == ["simulated"]
    (event,) = office.events("policy.simulated")
    assert event["after"] == {"state": "simulated", "due": 3}
    assert office.approve(document, "Ann") is PolicyState.SIMULATED
    assert office.approve(document, "Ben") is PolicyState.APPROVED

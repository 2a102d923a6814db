"""Versions of policies: exact bytes, signatures that count, two and a week for what lets more go, one in force."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, BlockedByPolicy, IntegrityError, SignatureRefused, UsageError
from fwd2bot_core.retention.policy_file import Document
from fwd2bot_core.retention.roles import Role
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.retention_tables import policies as table
from infra.retention_tables import policy_approvals as approvals
from infra.tables import audit_events
from tasks import people, policies, policy_approvals
from tasks.policies import PolicyState
from tests.core.retention.policies import TEXT
from tests.tasks.dispositions import POLICY, clock
from tests.tasks.signers import Signer

OBSERVING = TEXT.replace("stage: enforce", "stage: observe")
PEOPLE = {
    "Pia": [Role.POLICY_AUTHOR, Role.APPROVER],
    "Ann": [Role.APPROVER],
    "Ben": [Role.APPROVER],
    "Oda": [Role.OPERATOR],
    "Nika": [Role.COMPLIANCE],
}


@dataclass
class Office:
    """A ledger and people who look after its policies."""

    ledger: Ledger
    signers: dict[str, Signer] = field(default_factory=dict)

    def draft(self, text: str = TEXT, by: str = "Pia") -> Document:
        return policies.draft(self.ledger, text.encode(), by)

    def approve(self, document: Document, name: str, signer: str = "") -> PolicyState:
        said = policy_approvals.statement(document, name, "read")
        signature = self.signers[signer or name].sign(said)
        version = document.policy.version
        return policies.approve(self.ledger, POLICY, version, name, "read", signature)

    def activate(self, document: Document, *, after: timedelta = timedelta(0)) -> Document:
        with clock(audit_log.now() + after):
            return policies.activate(self.ledger, POLICY, document.policy.version, "Pia")

    def active(self) -> Document:
        with self.ledger.read() as connection:
            return policies.active(connection, POLICY)

    def states(self) -> list[str]:
        with self.ledger.read() as connection:
            return [str(one.state) for one in policies.versions(connection, POLICY)]

    def events(self, type: str) -> list[dict]:
        query = sa.select(audit_events.c.body).where(audit_events.c.type == type)
        with self.ledger.read() as connection:
            return [json.loads(b) for b in connection.execute(query.order_by(audit_events.c.seq)).scalars()]

    def change(self, statement: sa.Executable) -> None:
        with self.ledger.write() as connection:
            connection.execute(statement)


@pytest.fixture
def office(ledger_url: str) -> Iterator[Office]:
    made = Office(open_ledger(ledger_url))
    for name, roles in PEOPLE.items():
        made.signers[name] = Signer()
        people.register(made.ledger, name, made.signers[name].public, roles)
    yield made
    made.ledger.close()


def version(number: int, text: str = TEXT) -> str:
    return text.replace("version: 1", f"version: {number}")


def in_force(office: Office, text: str = TEXT) -> Document:
    document = office.draft(text)
    office.approve(document, "Ann")
    office.approve(document, "Ben")
    return office.activate(document, after=policy_approvals.COOLING_OFF)


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


def test_what_lets_no_more_go_needs_one_and_no_week(office: Office) -> None:
    in_force(office)
    stricter = office.draft(version(2, TEXT.replace("P7Y", "P8Y")))
    assert office.approve(stricter, "Ann") is PolicyState.APPROVED
    office.activate(stricter)
    assert office.states() == ["retired", "active"]
    observing = office.draft(version(3, OBSERVING))
    assert office.approve(observing, "Ann") is PolicyState.APPROVED
    office.activate(observing)


@pytest.mark.parametrize(
    ("was", "now"), [("P7Y", "P6Y"), ("0.95", "0.9"), ("objects: 20000", "objects: 20001")]
)
def test_what_lets_more_go_than_the_one_in_force_needs_two_and_a_week(
    office: Office, was: str, now: str
) -> None:
    in_force(office)
    looser = office.draft(version(2, TEXT.replace(was, now)))
    assert office.approve(looser, "Ann") is PolicyState.DRAFT
    office.approve(looser, "Ben")
    with pytest.raises(BlockedByPolicy, match="cools off"):
        office.activate(looser)
    assert office.active().policy.version == 1


def test_what_it_is_compared_with_is_what_is_in_force_when_it_is_activated(office: Office) -> None:
    """Approved as no looser than a version that was retired meanwhile: then it is looser than nothing."""
    in_force(office)
    same = office.draft(version(2))
    assert office.approve(same, "Ann") is PolicyState.APPROVED
    policies.retire(office.ledger, POLICY, 1, "Pia", "pause")
    with pytest.raises(BlockedByPolicy, match="1 of 2"):
        office.activate(same, after=timedelta(days=30))
    assert office.approve(same, "Ben") is PolicyState.APPROVED
    office.activate(same, after=timedelta(days=30))


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


def test_who_is_revoked_later_does_not_end_it(office: Office) -> None:
    in_force(office)
    for name in ("Ann", "Ben"):
        people.revoke(office.ledger, name, "left")
    assert office.active().policy.version == 1


def test_versions_are_never_changed_nor_taken_back(office: Office) -> None:
    in_force(office, version(2))
    for text in (version(2), version(1), version(2, TEXT.replace("P7Y", "P9Y"))):
        with pytest.raises(UsageError, match="version: 3"):
            office.draft(text)
    older = office.draft(version(3))
    in_force(office, version(4, TEXT.replace("P7Y", "P8Y")))
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


def test_signatures_that_were_changed_in_the_ledger_do_not_count(office: Office) -> None:
    document = office.draft()
    office.approve(document, "Ann")
    office.approve(document, "Ben")
    office.change(approvals.update().values(reason="other words"))
    with pytest.raises(BlockedByPolicy, match="0 of 2"):
        office.activate(document, after=timedelta(days=30))

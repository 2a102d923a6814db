"""People: one key each, roles that are looked at, refusals that are written down."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, SignatureRefused, UsageError
from fwd2bot_core.retention.roles import Act, Role, may
from infra.database import Ledger, open_ledger
from infra.tables import audit_events
from tasks import people
from tests.tasks.signers import Signer


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


def logged(ledger: Ledger, type: str) -> list[dict]:
    with ledger.read() as connection:
        rows = connection.execute(
            sa.select(audit_events.c.body).where(audit_events.c.type == type).order_by(audit_events.c.seq)
        )
        return [json.loads(body) for body in rows.scalars()]


def test_somebody_registered_is_found_with_roles_and_no_name_in_the_log(ledger: Ledger) -> None:
    made = people.register(ledger, "Mika Sato", Signer().public, [Role.APPROVER, Role.AUDITOR])
    with ledger.read() as connection:
        assert people.find(connection, "Mika Sato") == made
    (event,) = logged(ledger, "person.registered")
    assert event["after"]["roles"] == ["approver", "auditor"]
    assert "Mika" not in json.dumps(event)


def test_one_key_is_never_two_people_and_one_name_never_two_keys(ledger: Ledger) -> None:
    signer = Signer()
    people.register(ledger, "a", signer.public, [Role.APPROVER])
    with pytest.raises(UsageError, match="another person's"):
        people.register(ledger, "b", signer.public + " other comment", [Role.APPROVER])
    with pytest.raises(UsageError, match="'a' is registered already"):
        people.register(ledger, "a", Signer().public, [Role.APPROVER])
    for name, roles in (("", [Role.AUDITOR]), ("c", [])):
        with pytest.raises(UsageError, match="a name and at least one role"):
            people.register(ledger, name, Signer().public, roles)
    assert len(logged(ledger, "person.registered")) == 1


def test_who_signed_may_what_the_role_is_for(ledger: Ledger) -> None:
    signer = Signer()
    made = people.register(ledger, "a", signer.public, [Role.APPROVER])
    statement = b"say\n"
    assert people.signed(ledger, "a", Act.APPROVE_LIST, "l", statement, signer.sign(statement)) == made
    assert not logged(ledger, "access.denied")


def test_each_refusal_is_an_event(ledger: Ledger) -> None:
    signer, other, statement = Signer(), Signer(), b"say\n"
    people.register(ledger, "a", signer.public, [Role.APPROVER])
    refused = (
        ("nobody", Act.APPROVE_LIST, signer.sign(statement), "not registered"),
        ("a", Act.PLACE_HOLD, signer.sign(statement), "for compliance"),
        ("a", Act.APPROVE_LIST, other.sign(statement), "another key"),
        ("a", Act.APPROVE_LIST, signer.sign(b"other\n"), "other bytes"),
    )
    for name, act, signature, said in refused:
        with pytest.raises(AccessDenied, match=said):
            people.signed(ledger, name, act, "list-1", statement, signature)
    events = logged(ledger, "access.denied")
    assert [event["subject"]["act"] for event in events] == [str(act) for _, act, _, _ in refused]
    assert [event["reason_code"] for event in events] == ["AccessDenied"] * 2 + [
        SignatureRefused.__name__
    ] * 2
    assert "list-1" not in json.dumps(events)


def test_who_was_revoked_may_nothing(ledger: Ledger) -> None:
    signer = Signer()
    people.register(ledger, "a", signer.public, [Role.APPROVER])
    people.revoke(ledger, "a", "left the company")
    with pytest.raises(AccessDenied, match="was revoked"):
        people.signed(ledger, "a", Act.APPROVE_LIST, "l", b"say\n", signer.sign(b"say\n"))
    assert logged(ledger, "person.revoked")[0]["reason_text"] == "left the company"


def test_every_act_is_somebodys_and_keeping_is_everybodys() -> None:
    assert all(any(may(frozenset({role}), act) for role in Role) for act in Act)
    assert all(may(frozenset({role}), Act.RESCUE) for role in Role)
    assert not any(may(frozenset(), act) for act in Act)
    assert not may(frozenset({Role.POLICY_AUTHOR}), Act.APPROVE_POLICY)


def test_another_role_than_the_operators_is_somebodys(ledger: Ledger) -> None:
    people.register(ledger, "Oda", Signer().public, [Role.OPERATOR])
    people.register(ledger, "Nika", Signer().public, [Role.COMPLIANCE])
    assert people.acting(ledger, None, "operator", "list 1") == "operator"
    assert people.acting(ledger, "Nika", "compliance", "list 1") == "compliance"
    with pytest.raises(UsageError, match="--as NAME"):
        people.acting(ledger, None, "compliance", "list 1")
    for name, role in (("Oda", "compliance"), ("Nika", "operator"), ("nobody", "operator")):
        with pytest.raises(AccessDenied):
            people.acting(ledger, name, role, "list 1")

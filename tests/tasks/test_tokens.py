"""Tokens and sessions: shown once, kept hashed, over when they end, worth nothing once their person is revoked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, UsageError
from fwd2bot_core.retention.roles import Role
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.service_tables import login_tokens, sessions
from infra.tables import audit_events
from tasks import people, tokens
from tests.tasks.dispositions import clock
from tests.tasks.signers import Signer


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    people.register(opened, "Mika Sato", Signer().public, [Role.AUDITOR])
    yield opened
    opened.close()


def logged(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.execute(sa.select(audit_events.c.type).order_by(audit_events.c.seq)).scalars())


def test_a_token_is_its_persons_and_its_secret_is_nowhere(ledger: Ledger) -> None:
    made = tokens.issue(ledger, "Mika Sato", 30)
    assert tokens.holder(ledger, made.secret).name == "Mika Sato"
    session, person = tokens.sign_in(ledger, made.secret, 60)
    assert (person.name, tokens.of_session(ledger, session)) == ("Mika Sato", person)
    with ledger.read() as connection:
        stored = [
            str(row)
            for table in (login_tokens, sessions, audit_events)
            for row in connection.execute(sa.select(table))
        ]
    assert not any(made.secret in row or session in row for row in stored)
    assert logged(ledger)[1:] == ["token.made", "session.begun"]


def test_a_session_ends_by_itself_or_by_its_person(ledger: Ledger) -> None:
    secret = tokens.issue(ledger, "Mika Sato", 30).secret
    first, second = (tokens.sign_in(ledger, secret, 60)[0] for _ in range(2))
    tokens.sign_out(ledger, first)
    tokens.sign_out(ledger, first)
    assert tokens.of_session(ledger, first) is None
    assert tokens.of_session(ledger, second) is not None
    with clock(audit_log.now() + timedelta(minutes=61)):
        assert tokens.of_session(ledger, second) is None
    assert logged(ledger).count("session.ended") == 1


def test_what_is_over_revoked_or_invented_is_refused_and_logged(ledger: Ledger) -> None:
    old, other = tokens.issue(ledger, "Mika Sato", 1), tokens.issue(ledger, "Mika Sato", 90)
    session, _ = tokens.sign_in(ledger, other.secret, 1e4)
    with clock(audit_log.now() + timedelta(days=2)), pytest.raises(AccessDenied, match="no token"):
        tokens.holder(ledger, old.secret)
    assert tokens.revoke(ledger, "Mika Sato") == 2
    assert tokens.of_session(ledger, session) is None
    for secret in (other.secret, "", "fwd2bot_" + "x" * 43, "\udc80", "y" * 10_000):
        with pytest.raises(AccessDenied, match="no token"):
            tokens.holder(ledger, secret)
    assert logged(ledger).count("access.denied") == 6


def test_who_is_revoked_is_out_at_once(ledger: Ledger) -> None:
    secret = tokens.issue(ledger, "Mika Sato", 90).secret
    session, _ = tokens.sign_in(ledger, secret, 60)
    people.revoke(ledger, "Mika Sato", "left")
    assert tokens.of_session(ledger, session) is None
    with pytest.raises(AccessDenied):
        tokens.sign_in(ledger, secret, 60)


def test_only_who_is_registered_gets_one(ledger: Ledger) -> None:
    with pytest.raises(AccessDenied, match="not registered"):
        tokens.issue(ledger, "Nobody", 1)
    with pytest.raises(UsageError, match="one day"):
        tokens.issue(ledger, "Mika Sato", 0)
    with ledger.read() as connection:
        bodies = connection.execute(sa.select(audit_events.c.body)).scalars().all()
    assert "Mika" not in json.dumps([bytes(body).decode() for body in bodies])

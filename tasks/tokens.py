"""Tokens that registered people sign in with, and the sessions that follow: made, looked up, ended; all are events.

A secret has 256 random bits, is shown once and kept as its sha256, so that who reads the ledger cannot sign in. A token
is worth what its person is: whoever is revoked is out at once. Knows nothing of browsers or requests.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.errors import AccessDenied, UsageError
from fwd2bot_core.retention.roles import Act
from infra import audit_log
from infra.database import Ledger
from infra.retention_tables import people as people_table
from infra.service_tables import login_tokens, sessions
from tasks import people
from tasks.people import Person

PREFIX = "fwd2bot_"  # so that scanners find one that was published by mistake
LONGEST = 200  # characters of a secret that are looked at
NOBODY = "nobody"  # how a secret that is no token is named in the log


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token; the secret is nowhere else."""

    secret: str
    expires_at: datetime


def issue(ledger: Ledger, name: str, days: int) -> Issued:
    """A token for somebody who is registered. Raises ``AccessDenied`` for who is not, ``UsageError`` for no days."""
    if days < 1:
        raise UsageError("a token is good for one day at least")
    secret, at = PREFIX + secrets.token_urlsafe(32), audit_log.now()
    ends = at + timedelta(days=days)
    with ledger.write() as connection:
        audit_log.hold(connection)
        person = people.find(connection, name)
        connection.execute(
            login_tokens.insert().values(
                person_id=person.id, sha256=_hashed(secret), made_at=at, expires_at=ends
            )
        )
        actor = audit_log.actor(connection, "operator")
        _note(connection, "token.made", actor, person, after={"days": days})
    return Issued(secret, ends)


def revoke(ledger: Ledger, name: str) -> int:
    """End every token and session of a person; how many tokens were still good. Raises ``AccessDenied``."""
    at = audit_log.now()
    with ledger.write() as connection:
        audit_log.hold(connection)
        person = people.find(connection, name)
        mine = sa.select(login_tokens.c.id).where(login_tokens.c.person_id == person.id)
        connection.execute(sessions.delete().where(sessions.c.token_id.in_(mine)))
        good = sa.and_(
            login_tokens.c.person_id == person.id,
            login_tokens.c.revoked_at.is_(None),
            login_tokens.c.expires_at > at,
        )
        count = connection.execute(login_tokens.update().where(good).values(revoked_at=at)).rowcount
        actor = audit_log.actor(connection, "operator")
        _note(connection, "token.revoked", actor, person, after={"tokens": count})
    return int(count)


def holder(ledger: Ledger, secret: str) -> Person:
    """Whose token that is. Raises ``AccessDenied``, after the log says so."""
    return _holder(ledger, secret)[1]


def sign_in(ledger: Ledger, secret: str, minutes: float) -> tuple[str, Person]:
    """The secret of a new session, and whose it is. Raises ``AccessDenied``, after the log says so."""
    token_id, person = _holder(ledger, secret)
    session, at = secrets.token_urlsafe(32), audit_log.now()
    with ledger.write() as connection:
        audit_log.hold(connection)
        connection.execute(sessions.delete().where(sessions.c.ends_at <= at))
        connection.execute(
            sessions.insert().values(
                sha256=_hashed(session),
                token_id=token_id,
                made_at=at,
                ends_at=at + timedelta(minutes=minutes),
            )
        )
        _note(connection, "session.begun", person.actor(), person)
    return session, person


def of_session(ledger: Ledger, secret: str) -> Person | None:
    """Who is signed in; None for a session that is over, or never was."""
    at = audit_log.now()
    query = (
        sa.select(login_tokens.c.person_id)
        .join(sessions, sessions.c.token_id == login_tokens.c.id)
        .where(sessions.c.sha256 == _hashed(secret), sessions.c.ends_at > at, _good(at))
    )
    with ledger.read() as connection:
        number = connection.execute(query).scalar_one_or_none()
        return None if number is None else _person(connection, int(number))


def sign_out(ledger: Ledger, secret: str) -> None:
    """End a session; one that is over already is no error."""
    person = of_session(ledger, secret)
    with ledger.write() as connection:
        audit_log.hold(connection)
        connection.execute(sessions.delete().where(sessions.c.sha256 == _hashed(secret)))
        if person is not None:
            _note(connection, "session.ended", person.actor(), person)


def _holder(ledger: Ledger, secret: str) -> tuple[int, Person]:
    at, name = audit_log.now(), NOBODY
    query = sa.select(login_tokens.c.id, login_tokens.c.person_id, _good(at).label("good")).where(
        login_tokens.c.sha256 == _hashed(secret)
    )
    with ledger.read() as connection:
        row = connection.execute(query).one_or_none()
        person = None if row is None else _person(connection, row.person_id)
        if person is not None:
            name = person.name
    if row is None or person is None or not row.good or person.revoked:
        error = AccessDenied("that is no token that is good now; `fwd2bot people token NAME` makes one")
        people.denied(ledger, name, Act.SIGN_IN, "token", error)
        raise error
    return int(row.id), person


def _good(at: datetime) -> sa.ColumnElement[bool]:
    """Of a token that is neither over nor revoked, nor is its person."""
    there = sa.exists().where(
        people_table.c.id == login_tokens.c.person_id, people_table.c.revoked_at.is_(None)
    )
    return sa.and_(login_tokens.c.expires_at > at, login_tokens.c.revoked_at.is_(None), there)


def _person(connection: sa.Connection, number: int) -> Person | None:
    return next((one for one in people.everybody(connection) if one.id == number), None)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret[:LONGEST].encode("utf-8", "surrogatepass")).hexdigest()


def _note(connection: sa.Connection, type: str, actor: Actor, person: Person, **fields: Any) -> None:
    subject = {"person": person.ref}
    audit_log.append(
        connection, Event(type=type, occurred_at=audit_log.now(), actor=actor, subject=subject, **fields)
    )

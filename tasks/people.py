"""People with a registered key and roles; what each may do, shown by a signature; each refusal is an event.

Two people never share a key, so whoever sits at one shell is never two approvers. Names stand in the log as
commitments. Registering is for whoever may write to the ledger, and is an event. Knows nothing of what is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.errors import AccessDenied, Fwd2BotError, IntegrityError, SignatureRefused, UsageError
from fwd2bot_core.retention import sshsig
from fwd2bot_core.retention.roles import Act, Role, may, needed
from infra import audit_log
from infra.database import Ledger
from infra.retention_tables import people, person_roles
from infra.tables import audit_values

SSH = "ssh"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is registered."""

    id: int
    name: str
    ref: str  # what stands for the name in the log
    key: str  # as ``sshsig.public_key`` gives it
    roles: frozenset[Role]
    revoked: bool

    def actor(self, role: Role | None = None) -> Actor:
        """How the log names them when they act."""
        return Actor(self.ref, str(role or min(self.roles, default=Role.OPERATOR)))


def register(ledger: Ledger, name: str, key: str, roles: Iterable[Role]) -> Person:
    """Add somebody, with the line of their ``.pub`` file. Raises ``UsageError`` for a name or key that is taken."""
    line, wanted = sshsig.public_key(key), frozenset(roles)
    if not name.strip() or not wanted:
        raise UsageError("a person has a name and at least one role")
    with ledger.write() as connection:
        audit_log.hold(connection)
        ref = audit_log.reference(connection, "person", name)
        taken = (
            connection.execute(
                sa.select(people.c.name_ref).where(sa.or_(people.c.name_ref == ref, people.c.key == line))
            )
            .scalars()
            .first()
        )
        if taken is not None:
            what = (
                f"{name!r} is registered already" if taken == ref else "that key is another person's already"
            )
            raise UsageError(f"{what}; nothing was changed")
        number = connection.execute(
            people.insert()
            .values(name_ref=ref, kind=SSH, key=line, registered_at=audit_log.now())
            .returning(people.c.id)
        ).scalar_one()
        connection.execute(
            person_roles.insert(), [{"person_id": number, "role": str(role)} for role in sorted(wanted)]
        )
        after = {"key": audit_log.reference(connection, "key", line), "roles": sorted(map(str, wanted))}
        _note(connection, "person.registered", ref, after=after)
    return Person(int(number), name, ref, line, wanted, False)


def revoke(ledger: Ledger, name: str, reason: str) -> None:
    """From now on that person's signatures count for nothing new."""
    with ledger.write() as connection:
        audit_log.hold(connection)
        person = find(connection, name)
        connection.execute(people.update().where(people.c.id == person.id).values(revoked_at=audit_log.now()))
        _note(connection, "person.revoked", person.ref, reason_text=reason)


def find(connection: sa.Connection, name: str) -> Person:
    """Raises ``AccessDenied`` for a name that is not registered, or not any more."""
    found = next((one for one in everybody(connection) if one.name == name), None)
    if found is None:
        raise AccessDenied(f"{name!r} is not registered; `fwd2bot people add` registers somebody")
    if found.revoked:
        raise AccessDenied(f"{name!r} was revoked and may do nothing any more")
    return found


def everybody(connection: sa.Connection) -> list[Person]:
    """All who were ever registered; a name that was erased reads as its reference."""
    roles: dict[int, set[Role]] = {}
    for number, role in connection.execute(sa.select(person_roles)):
        roles.setdefault(number, set()).add(Role(role))
    rows = connection.execute(
        sa.select(people, audit_values.c.value)
        .outerjoin(audit_values, audit_values.c.ref == people.c.name_ref)
        .order_by(people.c.id)
    )
    return [
        Person(
            int(row.id),
            row.value or row.name_ref,
            row.name_ref,
            row.key,
            frozenset(roles.get(row.id, ())),
            row.revoked_at is not None,
        )
        for row in rows
    ]


def permitted(ledger: Ledger, name: str, act: Act, subject: str) -> Person:
    """The person, who has a role for the act. Raises ``AccessDenied``, after the log says so."""
    with refusals(ledger, name, act, subject):
        with ledger.read() as connection:
            person = find(connection, name)
        if not may(person.roles, act):
            raise AccessDenied(f"{name!r} may not do that: {act} is for {needed(act)}")
    return person


def acting(ledger: Ledger, name: str | None, role: str, subject: str) -> str:
    """The role in which somebody may carry out what others decided: the operator's for the account that runs this, any
    other one for a registered person who has it. Raises ``AccessDenied``, after the log says so."""
    if name is None:
        if role != Role.OPERATOR:
            raise UsageError(f"whoever acts as {role} says who they are: add --as NAME")
        return role
    person = permitted(ledger, name, Act.RUN, subject)
    with refusals(ledger, name, Act.RUN, subject):
        if role not in person.roles:
            raise AccessDenied(f"{name!r} is not registered as {role}")
    return role


def signed(ledger: Ledger, name: str, act: Act, subject: str, statement: bytes, signature: str) -> Person:
    """The same, who also signed exactly ``statement``."""
    person = permitted(ledger, name, act, subject)
    with refusals(ledger, name, act, subject):
        sshsig.verify(statement, signature, person.key)
    return person


def has_signed(person: Person, statement: bytes, signature: str, about: Mapping[str, Any]) -> bool:
    """Whether a statement that was kept is signed by that person's key, and says all that ``about`` says."""
    try:
        sshsig.verify(statement, signature, person.key)
        said = parse(statement.removesuffix(b"\n"))
    except (SignatureRefused, IntegrityError):
        return False
    return all(said.get(name) == value for name, value in about.items())


@contextmanager
def refusals(ledger: Ledger, name: str, act: Act, subject: str) -> Iterator[None]:
    """Write down what the block refuses by ``AccessDenied``; its own transactions are over by then."""
    try:
        yield
    except AccessDenied as error:
        denied(ledger, name, act, subject, error)
        raise


def denied(ledger: Ledger, name: str, act: Act, subject: str, why: Fwd2BotError) -> None:
    """Write an attempt down that was refused."""
    with ledger.write() as connection:
        audit_log.hold(connection)
        said = {
            "act": str(act),
            "of": audit_log.reference(connection, "subject", subject),
            "named": audit_log.reference(connection, "person", name),
        }
        _note(connection, "access.denied", None, subject=said, reason_code=type(why).__name__)


def _note(connection: sa.Connection, type: str, person: str | None, **fields: Any) -> None:
    """By whoever runs this process: a shell user, whom the log knows beside the person that is meant."""
    subject = fields.pop("subject", None) or {"person": person}
    actor = audit_log.actor(connection, "operator")
    event = Event(type=type, occurred_at=audit_log.now(), actor=actor, subject=subject, **fields)
    audit_log.append(connection, event)

"""A ledger and the people who look after its policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa

from fwd2bot_core.retention.policy_file import Document
from fwd2bot_core.retention.roles import Role
from infra import audit_log
from infra.database import Ledger, open_ledger
from infra.tables import audit_events
from tasks import people, policies, policy_approvals
from tasks.policies import PolicyState
from tests.core.retention.policies import TEXT
from tests.tasks.dispositions import POLICY, clock
from tests.tasks.signers import Signer

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

    def in_force(self, text: str = TEXT) -> Document:
        """Drafted, approved by Ann and Ben, cooled off, active."""
        document = self.draft(text)
        self.approve(document, "Ann")
        self.approve(document, "Ben")
        return self.activate(document, after=policy_approvals.COOLING_OFF)


@contextmanager
def opened(url: str) -> Iterator[Office]:
    """Everybody is registered."""
    made = Office(open_ledger(url))
    for name, roles in PEOPLE.items():
        made.signers[name] = Signer()
        people.register(made.ledger, name, made.signers[name].public, roles)
    yield made
    made.ledger.close()


def version(number: int, text: str = TEXT) -> str:
    return text.replace("version: 1", f"version: {number}")

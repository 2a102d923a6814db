"""An archive whose photos may go: a store with versions, one night, old photos, people with keys, a policy in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
import sqlalchemy as sa

import infra.installation
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.retention.policy_file import Document, read
from fwd2bot_core.retention.roles import Role
from infra import audit_log
from infra.installation import Installation
from infra.objects.memory import MemoryStore
from infra.retention_tables import object_facts
from infra.tables import (
    collections,
    compressors,
    label_checks,
    object_versions,
    probe_sets,
    summaries,
)
from tasks import disposition, people, policies, policy_approvals
from tasks.disposition import Made
from tests.core.retention.policies import COMPRESSOR, PROBES, TEXT
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.signers import Signer

POLICY = "line-1-originals"
WEEK = timedelta(days=8)  # and a day, so that what cools off is cool
PEOPLE = {
    "Oda": [Role.OPERATOR],
    "Pia": [Role.POLICY_AUTHOR],
    "Ann": [Role.APPROVER],
    "Ben": [Role.APPROVER],
    "Cem": [Role.APPROVER],
    "Nika": [Role.COMPLIANCE],
    "Dee": [Role.DATA_TEAM],
}


@dataclass
class Site:
    """What a test works with."""

    house: Installation
    store: MemoryStore
    signers: dict[str, Signer] = field(default_factory=dict)

    @property
    def photos(self) -> list[int]:
        """Their numbers, in the order of their keys."""
        with self.house.ledger.read() as connection:
            return list(
                connection.execute(sa.select(object_versions.c.id).order_by(object_versions.c.key)).scalars()
            )

    def text(self) -> str:
        """A policy that lets every photo go."""
        text = TEXT.replace(COMPRESSOR, self.house.spec(COLLECTION).fingerprint).replace("0.5 %", "0 %")
        return text.replace("2027-04-01", "2020-04-01").replace("2 %,", "100 %,")


def serious(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake compressor is none of those that let nothing go."""
    monkeypatch.setattr(
        infra.installation,
        "read_spec",
        lambda name, view: replace(FakeCompressor().spec, demonstration_only=False),
    )


def furnished(house: Callable[..., Installation], photos: int, ledger: str | None = None) -> Site:
    """Photos of 2015 with tokens, fidelity and passed labels, and everybody registered."""
    store = MemoryStore(f"dispositions-{uuid4().hex}", versions=True)
    for number in range(photos):
        store.create(f"{number:04}.jpg", tiny_jpeg(number))
    sections: dict[str, Any] = {f"collections.{COLLECTION}": {"originals": store.uri}}
    opened = house(**sections, **({"archive": {"ledger": ledger}} if ledger else {}))
    night(opened)
    with opened.ledger.write() as connection:
        _let_go(connection)
    site = Site(opened, store)
    for name, roles in PEOPLE.items():
        site.signers[name] = Signer()
        people.register(opened.ledger, name, site.signers[name].public, roles)
    return site


def listed(site: Site, by: str = "Oda") -> Made:
    """The one list that the policy in force gives."""
    (made,) = disposition.make(site.house, POLICY, by)
    return made


def _let_go(connection: sa.Connection) -> None:
    numbers = list(connection.execute(sa.select(object_versions.c.id)).scalars())
    at = datetime(2015, 5, 1, tzinfo=UTC)
    connection.execute(
        object_facts.insert(), [{"object_version_id": number, "captured_at": at} for number in numbers]
    )
    found = connection.execute(sa.select(probe_sets.c.id).where(probe_sets.c.sha256 == PROBES)).scalar()
    probes = (
        found
        or connection.execute(
            probe_sets.insert().values(sha256=PROBES, questions="[]").returning(probe_sets.c.id)
        ).scalar_one()
    )
    connection.execute(summaries.update().values(fidelity=0.99, probe_set_id=probes))
    connection.execute(
        label_checks.insert().values(
            collection_id=sa.select(collections.c.id).limit(1).scalar_subquery(),
            compressor_id=sa.select(compressors.c.id).limit(1).scalar_subquery(),
            codec="exact", labels_sha256="l", questions=600, right_answers=599, kinds="{}", at_least=0.97, passed=True,
            checked_at=at,
        )
    )  # fmt: skip


@contextmanager
def clock(moment: datetime) -> Iterator[None]:
    """The wall clock shows this."""
    with patch.object(audit_log, "now", lambda: moment):
        yield


def approve_policy(site: Site, document: Document, *names: str, reason: str = "read") -> None:
    for name in names:
        said = policy_approvals.statement(document, name, reason)
        policies.approve(
            site.house.ledger, document.policy.id, document.policy.version, name, reason,
            site.signers[name].sign(said),
        )  # fmt: skip


def put_in_force(site: Site, text: str | None = None) -> Document:
    """Drafted by Pia and approved by Ann and Cem eight days ago, and active now."""
    data = (text or site.text()).encode()
    version, ledger = read(data).policy.version, site.house.ledger
    with clock(audit_log.now() - WEEK):
        document = policies.draft(ledger, data, "Pia")
        approve_policy(site, document, "Ann", "Cem")
    policies.activate(ledger, document.policy.id, version, "Pia")
    return document

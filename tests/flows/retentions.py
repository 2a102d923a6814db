"""A site for retention runs: ``disposals``' world, its policy signed by people, a clock that can be set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from flows.retention import run_retention
from fwd2bot_core.retention.policy_file import read
from fwd2bot_core.retention.roles import Role
from infra import audit_log
from infra.checkpoints import sign_checkpoint
from infra.database import Ledger
from infra.retention_tables import disposition_lists, policies
from tasks import people, policy_approvals, review
from tasks.retention_summary import RetentionSummary
from tests.tasks.disposals import World, make_world
from tests.tasks.signers import Signer
from tests.tasks.steps import rows

OTHERS = {"Oda": [Role.OPERATOR], "Nika": [Role.COMPLIANCE], "Dee": [Role.DATA_TEAM]}


def make_site(root: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> World:
    """Nobody has listed anything yet."""
    world = make_world(root, ledger_url, monkeypatch, **options)
    for name, roles in OTHERS.items():
        people.register(world.house.ledger, name, Signer().public, roles)
    row = rows(world.house, policies)[0]
    document = read(row.yaml)
    for name, signer in world.approvers[:2]:
        said = policy_approvals.statement(document, name, "read")
        with world.house.ledger.write() as connection:
            person = people.find(connection, name)
            policy_approvals.add(connection, document, person, "read", signer.sign(said), audit_log.now())
    return world


@contextmanager
def clock(moment: datetime) -> Iterator[None]:
    """Wall clock and database say this."""
    text = f"'{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"

    def now(ledger: Ledger, connection: sa.Connection) -> sa.ColumnElement[Any]:
        aware = f"timestamptz {text[:-1]}+00'"
        return sa.literal_column(text if connection.dialect.name == "sqlite" else aware)

    with patch.object(audit_log, "now", lambda: moment), patch.object(Ledger, "now", now):
        yield


def days_pass(world: World, days: int) -> datetime:
    """Days in which only the log was signed; the moment after them."""
    begun = audit_log.now()
    for day in range(7, days, 7):
        with clock(begun + timedelta(days=day)):
            sign_checkpoint(world.house, reason="daily")
    return begun + timedelta(days=days)


def run(world: World, *, act: bool = True, author: str | None = "Oda") -> RetentionSummary:
    return run_retention(world.house.settings, act=act, author=author)


def approve(world: World) -> str:
    """The newest list, by two people; its name."""
    query = sa.select(disposition_lists).order_by(disposition_lists.c.made_at.desc())
    list_id = str(rows(world.house, query)[0].id)
    for name, signer in world.approvers[:2]:
        with world.house.ledger.read() as connection:
            said = review.statement(connection, list_id, name, approved=True, reason="seen")
        review.approve(world.house, list_id, name, "seen", signer.sign(said))
    return list_id

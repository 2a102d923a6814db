"""Who sees which holds: a confidential one is not even counted for those who may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fwd2bot_core.errors import AccessDenied, UsageError
from fwd2bot_core.retention.facts import Hold
from fwd2bot_core.retention.roles import Role
from infra.database import Ledger, open_ledger
from tasks import people
from tasks.hold_list import holds, members_of
from tests.core.retention.policies import photo
from tests.infra.retention_ledger import furnish, put
from tests.tasks.signers import Signer


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """Cases 1 (open), 2 (confidential) and 3 (released); photo 7 is in the first two."""
    opened = open_ledger(ledger_url)
    with opened.write() as connection:
        furnish(connection)
        put(connection, photo(holds=(Hold(name="case-1"), Hold(name="case-2", confidential=True))))
    people.register(opened, "Nika", Signer().public, [Role.COMPLIANCE])
    people.register(opened, "Oda", Signer().public, [Role.OPERATOR])
    yield opened
    opened.close()


def test_confidential_holds_are_for_compliance(ledger: Ledger) -> None:
    assert [(one.number, one.objects) for one in holds(ledger)] == [(1, 1), (3, 0)]
    assert [(one.number, one.objects) for one in holds(ledger, "Nika")] == [(1, 1), (2, 1), (3, 0)]
    assert [one.released_at is None for one in holds(ledger, "Nika")] == [True, True, False]
    with pytest.raises(AccessDenied, match="for compliance"):
        holds(ledger, "Oda")


def test_members_are_those_of_one_hold(ledger: Ledger) -> None:
    assert members_of(ledger, 2) == [7]
    with pytest.raises(UsageError, match="not known"):
        members_of(ledger, 9)

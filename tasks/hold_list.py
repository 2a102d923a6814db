"""Legal holds as people look at them. A confidential one is shown to compliance only, and to others not at all.

Writes nothing but what is denied. Knows nothing of how holds are placed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.roles import Act
from infra.database import Ledger
from infra.retention_tables import hold_members, legal_holds
from tasks import people


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold."""

    number: int
    case: str
    reason: str
    author: str
    confidential: bool
    objects: int
    placed_at: datetime
    released_at: datetime | None  # None: in force


def holds(ledger: Ledger, person: str | None = None) -> list[Hold]:
    """All, by number; the confidential ones, too, for a ``person`` who may see them. Raises ``AccessDenied``."""
    if person is not None:
        people.permitted(ledger, person, Act.SEE_CONFIDENTIAL, "holds")
    count = sa.func.count(hold_members.c.object_version_id).label("objects")
    query = (
        sa.select(legal_holds, count)
        .outerjoin(hold_members, hold_members.c.hold_id == legal_holds.c.id)
        .group_by(*legal_holds.c)
        .order_by(legal_holds.c.id)
    )
    if person is None:
        query = query.where(legal_holds.c.confidential.is_(False))
    with ledger.read() as connection:
        names = {one.ref: one.name for one in people.everybody(connection)}
        return [
            Hold(
                number=row.id,
                case=row.name,
                reason=row.reason,
                author=names.get(row.author_ref, row.author_ref),
                confidential=row.confidential,
                objects=row.objects,
                placed_at=row.placed_at,
                released_at=row.released_at,
            )
            for row in connection.execute(query)
        ]


def members_of(ledger: Ledger, number: int) -> list[int]:
    """The object versions of a hold. Raises ``UsageError`` for an unknown one."""
    query = sa.select(hold_members.c.object_version_id).where(hold_members.c.hold_id == number)
    with ledger.read() as connection:
        found = list(connection.execute(query.order_by(hold_members.c.object_version_id)).scalars())
    if not found:
        raise UsageError(f"hold {number} is not known; `fwd2bot hold list` shows all")
    return found

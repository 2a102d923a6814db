"""Take photos off a disposition list: the one act about a list that needs no signature, because it keeps something.

What the log says will go (an intent) is not taken off here. Knows nothing of approvals or of destruction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.retention.disposition import ItemState
from fwd2bot_core.retention.roles import Act
from infra import audit_log
from infra.installation import Installation
from infra.retention_tables import disposition_items
from infra.tables import collections, object_versions
from tasks import facts, people
from tasks.review import find

EVENT = "list.rescued"


@dataclass(frozen=True, slots=True)
class Rescued:
    """Object versions that stay, and those that could not be taken off, with what they are instead."""

    done: list[int]
    refused: dict[int, str]


def rescue(house: Installation, list_id: str, person: str, versions: Collection[int]) -> Rescued:
    """Take what is still listed off its list, by anybody who is registered.

    Only for this list: a policy lists it again unless something else keeps it, such as a tag or a hold. Raises
    ``AccessDenied``, and ``UsageError`` for a list that is not known.
    """
    someone = people.permitted(house.ledger, person, Act.RESCUE, f"list {list_id}")
    done, refused = [], dict.fromkeys(versions, "not on this list")
    with house.ledger.write() as connection:
        audit_log.hold(connection)  # a destroyer writes its intents under the same lock
        row = find(connection, list_id)
        for item in _items(connection, list_id, versions):
            if item.state != ItemState.LISTED:
                refused[item.id] = str(item.state)
                continue
            del refused[item.id]
            done.append(item.id)
            _take_off(connection, row, item, someone)
    return Rescued(done, refused)


def _items(connection: sa.Connection, list_id: str, versions: Collection[int]) -> list[sa.Row[Any]]:
    query = (
        sa.select(object_versions, disposition_items.c.state, collections.c.name.label("collection"))
        .join(disposition_items, disposition_items.c.object_version_id == object_versions.c.id)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(disposition_items.c.list_id == list_id, object_versions.c.id.in_(sorted(set(versions))))
        .order_by(object_versions.c.id)
    )
    return list(connection.execute(query).all())


def _take_off(connection: sa.Connection, row: sa.Row[Any], item: sa.Row[Any], person: people.Person) -> None:
    """Each is a fact about its image: why it is still here."""
    mine = sa.and_(disposition_items.c.list_id == row.id, disposition_items.c.object_version_id == item.id)
    at = audit_log.now()
    connection.execute(
        disposition_items.update()
        .where(mine)
        .values(state=ItemState.RESCUED, reason="rescued", changed_at=at)
    )
    event = Event(
        type=EVENT,
        occurred_at=at,
        actor=person.actor(),
        collection=audit_log.reference(connection, "collection", item.collection),
        subject=facts.subject(connection, facts.unit_of(item, item.collection)),
        before={"state": str(ItemState.LISTED)},
        after={"state": str(ItemState.RESCUED), "list": row.id},
    )
    audit_log.append(connection, event)

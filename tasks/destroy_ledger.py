"""What becomes of the items of a disposition list: each change of state with its event, in one transaction.

An item's state changes only the way ``disposition.may_follow`` leads, under the log's head, which whoever places a hold
takes too. Knows tables and events. Knows nothing of stores, and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import Actor, Event, rfc3339
from fwd2bot_core.retention.disposition import ItemState, ListState, is_end, may_follow
from infra import audit_log
from infra.objects import ObjectInfo
from infra.retention_tables import certificates, disposition_items, disposition_lists
from infra.tables import object_versions
from tasks import facts
from tasks.destroy_checks import Kept
from tasks.destroy_order import Item, Order, items, list_row

_EVENTS = {ItemState.MISSING: "destruction.missing", ItemState.UNKNOWN: "destruction.unknown"}


def leave(connection: sa.Connection, order: Order, actor: Actor, item: Item, kept: Kept) -> bool:
    """Write down why an item left the straight way; False, and nothing, where its state does not lead there."""
    if not may_follow(item.state, kept.state):
        return False
    back = item.state in (ItemState.INTENT, ItemState.UNKNOWN)
    type = _EVENTS.get(kept.state, "destruction.withdrawn" if back else "destruction.blocked")
    after = {"state": str(kept.state)}
    event = _event(connection, type, order, actor, item, after, reason_code=kept.reason)
    audit_log.append(connection, event)
    _set(connection, order, item, state=kept.state, reason=kept.reason, detail=kept.detail)
    return True


def intend(
    connection: sa.Connection,
    order: Order,
    actor: Actor,
    meant: Mapping[int, Mapping[str, Any]],
    rows: Sequence[Item],
) -> int | None:
    """The intents of ``rows``, with what was found of each; the number of the last one."""
    events = [
        _event(connection, "destruction.intended", order, actor, item, {"state": "intent", **meant[item.id]})
        for item in rows
    ]
    if not events:
        return None
    first = audit_log.append_all(connection, events)
    for seq, item in enumerate(rows, first):
        _set(connection, order, item, state=ItemState.INTENT, intent_seq=seq)
    return first + len(rows) - 1


def intend_again(connection: sa.Connection, order: Order, item: Item) -> None:
    """What nobody knew of is still there: its intent stands."""
    _set(connection, order, item, state=ItemState.INTENT, reason=None, detail=None)


def confirm(
    connection: sa.Connection,
    order: Order,
    actor: Actor,
    item: Item,
    answer: str,
    others: Sequence[ObjectInfo],
) -> None:
    """The end: event, certificate and state. ``others``: what the store still holds under the key."""
    now = audit_log.now()
    purge = None if order.purge_days is None else now + timedelta(days=order.purge_days)
    left = {"versions": sum(not o.marker for o in others), "markers": sum(o.marker for o in others)}
    after: dict[str, Any] = {
        "state": "destroyed",
        "intent_seq": item.intent_seq,
        "answer": answer,
        "others": left,
    }
    if purge is not None:
        after["purge_not_before"] = rfc3339(purge)
    seq = audit_log.append(connection, _event(connection, "destruction.confirmed", order, actor, item, after))
    connection.execute(
        certificates.insert().values(
            object_version_id=item.id,
            list_id=order.list_id,
            intent_seq=item.intent_seq,
            confirmed_seq=seq,
            deleted_at=now,
            purge_not_before=purge,
            others=json.dumps([{"version": o.version, "marker": o.marker} for o in others], sort_keys=True),
        )
    )
    mine = object_versions.c.id == item.id
    connection.execute(object_versions.update().where(mine).values(destroyed_seq=seq))
    _set(connection, order, item, state=ItemState.DESTROYED, reason=None, detail=None)


def end(connection: sa.Connection, order: Order, actor: Actor) -> bool:
    """Whether every item has come to an end; the list is done then."""
    open_ones = [state for state in ItemState if not is_end(state)]
    if items(connection, order, open_ones) or list_row(connection, order.list_id).state != ListState.GRACE:
        return False
    mine, now = disposition_lists.c.id == order.list_id, audit_log.now()
    connection.execute(disposition_lists.update().where(mine).values(state=ListState.DONE, ended_at=now))
    audit_log.append(
        connection,
        Event(
            type="list.done",
            occurred_at=now,
            actor=actor,
            subject={"list": order.list_id},
            policy=order.policy(),
        ),
    )
    return True


def _set(connection: sa.Connection, order: Order, item: Item, **values: Any) -> None:
    mine = sa.and_(
        disposition_items.c.list_id == order.list_id, disposition_items.c.object_version_id == item.id
    )
    connection.execute(disposition_items.update().where(mine).values(changed_at=audit_log.now(), **values))


def _event(
    connection: sa.Connection,
    type: str,
    order: Order,
    actor: Actor,
    item: Item,
    after: Mapping[str, Any],
    **fields: Any,
) -> Event:
    unit = item.unit
    content = commitment(unit.salt, "sha256", unit.content_sha256 or "")
    return Event(
        type=type,
        occurred_at=audit_log.now(),
        actor=actor,
        collection=audit_log.reference(connection, "collection", order.collection),
        subject=facts.subject(connection, unit),
        before={"state": str(item.state), "content": content, "bytes": unit.size},
        after={"list": order.list_id, **after},
        policy=order.policy(),
        compressor=order.document.policy.verification.compressor,
        **fields,
    )

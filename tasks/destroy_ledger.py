"""What becomes of the items of a disposition list: each change of state with its event, in one transaction.

An item's state changes only the way ``disposition.may_follow`` leads, under the log's head, which whoever places a hold
takes too. Knows tables and events. Knows nothing of stores, and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
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


@dataclass(frozen=True, slots=True)
class End:
    """An item that is gone."""

    item: Item
    answer: str  # of the store, when it was asked to delete it
    others: Sequence[ObjectInfo]  # what it still holds under the key


def leave(connection: sa.Connection, order: Order, actor: Actor, item: Item, kept: Kept) -> bool:
    """Write down why an item left the straight way; False, and nothing, where its state does not lead there."""
    if not may_follow(item.state, kept.state):
        return False
    back = item.state in (ItemState.INTENT, ItemState.UNKNOWN)
    type = _EVENTS.get(kept.state, "destruction.withdrawn" if back else "destruction.blocked")
    afters = [(item, {"state": str(kept.state)})]
    _log(connection, type, order, actor, afters, reason_code=kept.reason)
    _set(connection, order, [item], state=kept.state, reason=kept.reason, detail=kept.detail)
    return True


def intend(
    connection: sa.Connection,
    order: Order,
    actor: Actor,
    meant: Mapping[int, Mapping[str, Any]],
    rows: Sequence[Item],
) -> None:
    """The intents of ``rows``, with what was found of each."""
    if not rows:
        return
    afters = [(item, {"state": "intent", **meant[item.id]}) for item in rows]
    first = _log(connection, "destruction.intended", order, actor, afters)
    _set(connection, order, rows, state=ItemState.INTENT)
    seqs = [{"of_version": item.id, "at_seq": seq} for seq, item in enumerate(rows, first)]
    mine = _mine(order, disposition_items.c.object_version_id == sa.bindparam("of_version"))
    connection.execute(disposition_items.update().where(mine).values(intent_seq=sa.bindparam("at_seq")), seqs)


def intend_again(connection: sa.Connection, order: Order, item: Item) -> None:
    """What nobody knew of is still there: its intent stands."""
    _set(connection, order, [item], state=ItemState.INTENT, reason=None, detail=None)


def confirm(connection: sa.Connection, order: Order, actor: Actor, ends: Sequence[End]) -> None:
    """The end of each: event, certificate and state."""
    if not ends:
        return
    now = audit_log.now()
    purge = None if order.purge_days is None else now + timedelta(days=order.purge_days)
    afters = [(end.item, _told(end, purge)) for end in ends]
    first = _log(connection, "destruction.confirmed", order, actor, afters)
    rows = [_certificate(order, end, seq, now, purge) for seq, end in enumerate(ends, first)]
    connection.execute(certificates.insert(), rows)
    seqs = [{"of_version": row["object_version_id"], "at_seq": row["confirmed_seq"]} for row in rows]
    mine = object_versions.c.id == sa.bindparam("of_version")
    connection.execute(
        object_versions.update().where(mine).values(destroyed_seq=sa.bindparam("at_seq")), seqs
    )
    _set(connection, order, [end.item for end in ends], state=ItemState.DESTROYED, reason=None, detail=None)


def _told(end: End, purge: datetime | None) -> dict[str, Any]:
    """What the event says came after."""
    left = {
        "versions": sum(not other.marker for other in end.others),
        "markers": sum(other.marker for other in end.others),
    }
    after = {"state": "destroyed", "intent_seq": end.item.intent_seq, "answer": end.answer, "others": left}
    return after | ({} if purge is None else {"purge_not_before": rfc3339(purge)})


def _certificate(order: Order, end: End, seq: int, now: datetime, purge: datetime | None) -> dict[str, Any]:
    others = [{"version": other.version, "marker": other.marker} for other in end.others]
    return {
        "object_version_id": end.item.id,
        "list_id": order.list_id,
        "intent_seq": end.item.intent_seq,
        "confirmed_seq": seq,
        "deleted_at": now,
        "purge_not_before": purge,
        "others": json.dumps(others, sort_keys=True),
    }


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


def _mine(order: Order, which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(disposition_items.c.list_id == order.list_id, which)


def _set(connection: sa.Connection, order: Order, some: Sequence[Item], **values: Any) -> None:
    mine = _mine(order, disposition_items.c.object_version_id.in_([item.id for item in some]))
    connection.execute(disposition_items.update().where(mine).values(changed_at=audit_log.now(), **values))


def _log(
    connection: sa.Connection,
    type: str,
    order: Order,
    actor: Actor,
    afters: Sequence[tuple[Item, Mapping[str, Any]]],
    **fields: Any,
) -> int:
    """One event for each item, with what came after; the number of the first one."""
    subjects = facts.subjects(connection, [item.unit for item, _ in afters])
    common = partial(
        Event,
        type=type,
        occurred_at=audit_log.now(),
        actor=actor,
        collection=audit_log.reference(connection, "collection", order.collection),
        policy=order.policy(),
        compressor=order.document.policy.verification.compressor,
        **fields,
    )
    return audit_log.append_all(
        connection,
        [
            common(subject=subjects[item.id], before=_before(item), after={"list": order.list_id, **after})
            for item, after in afters
        ],
    )


def _before(item: Item) -> dict[str, Any]:
    unit = item.unit
    content = commitment(unit.salt, "sha256", unit.content_sha256 or "")
    return {"state": str(item.state), "content": content, "bytes": unit.size}

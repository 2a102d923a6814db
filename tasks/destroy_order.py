"""A disposition list as it is to be carried out, and all that guards are to be asked about: lists, items, approvals.

Reads the ledger, and the manifest from the archive; writes nothing and decides nothing. Knows nothing of stores.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.disposition import ItemState, read_list
from fwd2bot_core.retention.policy_file import Document, read
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.installation import Installation
from infra.retention_tables import (
    approvals,
    certificates,
    disposition_items,
    disposition_lists,
    people,
    person_roles,
    policies,
)
from infra.tables import (
    UtcDateTime,
    audit_anchors,
    audit_events,
    collections,
    compressors,
    object_versions,
    shards,
    summaries,
)
from tasks.destroy_checks import Approval, Blast, Times
from tasks.facts import unit_of

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Order:
    """A disposition list that is to be carried out."""

    list_id: str
    collection: str
    document: Document
    manifest: bytes
    lines: Mapping[int, Mapping[str, Any]]  # of the manifest, by object version
    purge_days: int | None = (
        None  # that the collection's provider keeps what was deleted; None: nobody told us
    )

    def policy(self) -> dict[str, Any]:
        """As events name it."""
        return self.document.reference()


@dataclass(frozen=True, slots=True)
class Item:
    """One object version on the list, and where its tokens by the policy's compressor lie, if anywhere."""

    unit: Unit
    state: ItemState
    reason: str | None
    intent_seq: int | None
    destroyed_seq: int | None
    shard: str | None
    shard_sha256: str | None
    row: int | None

    @property
    def id(self) -> int:
        return self.unit.object_version_id

    def as_listed(self) -> dict[str, Any]:
        """What its line of the manifest must say."""
        unit = self.unit
        named = {"object_version_id": self.id, "key": unit.key, "identity": unit.identity}
        return named | {"sha256": unit.content_sha256, "size": unit.size}


def read_order(house: Installation, list_id: str) -> Order:
    """Raises ``UsageError`` for a list that is not known, ``StoreError`` and ``IntegrityError`` for its manifest."""
    with house.ledger.read() as connection:
        row = list_row(connection, list_id)
    manifest = house.archive.read(row.path)
    _, lines = read_list(
        manifest, hashlib.sha256(manifest).hexdigest()
    )  # whether it is the signed one: a guard
    known = house.settings.collections.get(row.collection)
    return Order(
        list_id=list_id,
        collection=row.collection,
        document=read(row.yaml, f"policy {row.policy_id}"),
        manifest=manifest,
        lines={line["object_version_id"]: line for line in lines},
        purge_days=known.purge_days if known else None,
    )


def list_row(connection: sa.Connection, list_id: str) -> sa.Row[Any]:
    """The list with its collection's name, and of its policy the bytes, state, author and meaning."""
    named = [policies.c[name].label(name) for name in ("yaml", "meaning_sha256")]
    query = (
        sa.select(
            disposition_lists,
            collections.c.name.label("collection"),
            policies.c.state.label("policy_state"),
            policies.c.author_ref.label("policy_author_ref"),
            *named,
        )
        .join(collections, collections.c.id == disposition_lists.c.collection_id)
        .join(
            policies,
            sa.and_(
                policies.c.id == disposition_lists.c.policy_id,
                policies.c.version == disposition_lists.c.policy_version,
            ),
        )
    )
    row = connection.execute(query.where(disposition_lists.c.id == list_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no disposition list {list_id!r}; `fwd2bot disposition lists` names them")
    return row


def items(
    connection: sa.Connection,
    order: Order,
    states: Iterable[ItemState],
    among: Sequence[int] | None = None,
    *,
    lock: bool = False,
) -> list[Item]:
    """Those in one of ``states``, in the order of the list; with ``lock`` nobody else changes them meanwhile."""
    fingerprint = order.document.policy.verification.compressor
    compressor = sa.select(compressors.c.id).where(compressors.c.fingerprint == fingerprint).scalar_subquery()
    query = (
        sa.select(
            object_versions,
            *(disposition_items.c[name] for name in ("state", "reason", "intent_seq")),
            shards.c.path,
            shards.c.sha256.label("shard_sha256"),
            summaries.c.row,
        )
        .select_from(disposition_items)
        .join(object_versions, object_versions.c.id == disposition_items.c.object_version_id)
        .outerjoin(
            summaries,
            sa.and_(
                summaries.c.object_version_id == object_versions.c.id,
                summaries.c.compressor_id == compressor,
            ),
        )
        .outerjoin(shards, shards.c.id == summaries.c.shard_id)
        .where(disposition_items.c.list_id == order.list_id, disposition_items.c.state.in_(list(states)))
        .order_by(disposition_items.c.number)
    )
    if among is not None:
        query = query.where(object_versions.c.id.in_(among))
    if lock:
        query = query.with_for_update(of=disposition_items)
    return [_item(row, order.collection) for row in connection.execute(query)]


def _item(row: sa.Row[Any], collection: str) -> Item:
    unit = unit_of(row, collection)
    state = ItemState(row.state)
    return Item(
        unit, state, row.reason, row.intent_seq, row.destroyed_seq, row.path, row.shard_sha256, row.row
    )


def approvals_of(connection: sa.Connection, list_id: str) -> list[Approval]:
    """What was signed about the list, with who these people are now."""
    roles = defaultdict[int, set[str]](set)
    for person, role in connection.execute(sa.select(person_roles.c.person_id, person_roles.c.role)):
        roles[person].add(role)
    query = sa.select(approvals, people).join(people, people.c.id == approvals.c.person_id)
    return [
        Approval(
            approved=row.approved,
            statement=row.statement,
            signature=row.signature,
            kind=row.kind,
            key=row.key,
            ref=row.name_ref,
            revoked=row.revoked_at is not None,
            roles=frozenset(roles[row.person_id]),
        )
        for row in connection.execute(query.where(approvals.c.list_id == list_id).order_by(people.c.id))
    ]


def times(house: Installation, connection: sa.Connection) -> Times:
    """What the clocks say now."""
    newest = sa.select(audit_events.c.occurred_at).order_by(audit_events.c.seq.desc()).limit(1)
    said = connection.execute(
        sa.select(sa.type_coerce(house.ledger.now(connection), UtcDateTime))
    ).scalar_one()
    return Times(
        here=audit_log.now(),
        ledger=said,
        newest=connection.execute(newest).scalar_one_or_none(),
        tolerance=timedelta(seconds=house.settings.audit.clock_tolerance_seconds),
    )


def blast(connection: sa.Connection, order: Order, wanted: Sequence[Item], now: datetime) -> Blast:
    """These items, what else is meant to go, and what the last day destroyed, in the policy's collections."""
    numbers = sa.select(collections.c.id).where(collections.c.name.in_(order.document.policy.collections))
    photo = object_versions.c
    recent = sa.select(certificates.c.object_version_id).where(certificates.c.deleted_at > now - DAY)
    meant = sa.select(disposition_items.c.object_version_id).where(
        disposition_items.c.state.in_([ItemState.INTENT, ItemState.UNKNOWN])
    )
    count = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(photo.size), 0)).where(
        photo.collection_id.in_(numbers)
    )
    gone, left = (photo.id.in_(recent), photo.destroyed_seq.is_(None))
    others = connection.execute(count.where(sa.or_(gone, sa.and_(left, photo.id.in_(meant))))).one()
    of = connection.execute(count.where(sa.or_(gone, left))).one()
    new = [item for item in wanted if item.state is ItemState.LISTED]
    size = sum(item.unit.size for item in new)
    return Blast(int(others[0]) + len(new), int(others[1]) + size, int(of[0]))


def elsewhere(connection: sa.Connection, order: Order, numbers: Sequence[int]) -> dict[int, list[ItemState]]:
    """The states of these object versions on other lists."""
    found = defaultdict[int, list[ItemState]](list)
    rows = connection.execute(
        sa.select(disposition_items.c.object_version_id, disposition_items.c.state).where(
            disposition_items.c.object_version_id.in_(numbers), disposition_items.c.list_id != order.list_id
        )
    )
    for number, state in rows:
        found[number].append(ItemState(state))
    return found


def anchored(connection: sa.Connection) -> int:
    """How many events the largest checkpoint covers that is known to be kept outside."""
    largest = sa.select(sa.func.max(audit_anchors.c.size))
    return int(connection.execute(largest).scalar_one() or 0)

"""The photos that may go by a policy now, for a list: found in SQL, decided again one by one, in a list's order.

Memory stays flat however many there are: what was found waits in a temporary table of the same snapshot. Knows
decisions and the ledger. Knows nothing of archives or of what a list is good for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby, islice
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.errors import BlockedByPolicy
from fwd2bot_core.retention.decide import decide, matches, percent
from fwd2bot_core.retention.disposition import Item, ItemState, ListState
from fwd2bot_core.retention.facts import ObjectFacts
from fwd2bot_core.retention.periods import NEVER, not_before
from fwd2bot_core.retention.policy import Policy
from infra.object_facts import facts
from infra.policy_sql import Terms, stream
from infra.retention_tables import disposition_items, disposition_lists
from infra.tables import UtcDateTime, collections, object_versions

CHUNK = 1000  # photos decided at once
_LIVE = (ListState.OPEN, ListState.GRACE)
# of any list, also of one that has ended: it is going, it is gone, or nobody knows where it went
_SPOKEN_FOR = (ItemState.INTENT, ItemState.UNKNOWN, ItemState.DESTROYED, ItemState.MISSING)

chosen = sa.Table(
    "chosen",
    sa.MetaData(),
    sa.Column("object_version_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("not_before", UtcDateTime, nullable=False),
    prefixes=["TEMPORARY"],
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much a policy would let go, and of how many photos."""

    objects: int
    bytes: int
    of: int


def choose(connection: sa.Connection, terms: Terms) -> Size:
    """Fill ``chosen`` with what may go now and no list speaks for; ``items`` reads it in the same transaction.

    Raises ``BlockedByPolicy`` for more than the policy's limits, and where SQL and its twin decide differently.
    """
    chosen.create(connection)
    policy, objects, size = terms.policy, 0, 0
    may_go = (number for number, mask in stream(connection, terms) if not mask)
    while part := list(islice(may_go, CHUNK)):
        free = sizes_of_free(connection, part)
        objects, size = objects + len(free), size + sum(free.values())
        if free and objects <= policy.limits.objects:  # beyond, they are only counted
            connection.execute(chosen.insert(), _decided(connection, terms, list(free)))
    found = Size(objects, size, _photos(connection, policy))
    _refuse_beyond(policy, found)
    return found


def items(connection: sa.Connection) -> Iterator[tuple[sa.Row[Any], Iterator[Item]]]:
    """Each collection (``id`` and ``name``) with its chosen photos, sorted as a list is."""
    photo = object_versions.c
    key, identity = (_by_code_point(connection, column) for column in (photo.key, photo.identity))
    query = (
        sa.select(
            chosen,
            photo.key,
            photo.identity,
            photo.size,
            photo.content_sha256,
            collections.c.id.label("collection_id"),
            collections.c.name,
        )
        .join(object_versions, photo.id == chosen.c.object_version_id)
        .join(collections, collections.c.id == photo.collection_id)
        .order_by(collections.c.id, key, identity)
    )
    rows = connection.execute(query, execution_options={"yield_per": CHUNK})
    yield from (_headed(group) for _, group in groupby(rows, lambda row: row.collection_id))


def sizes_of_free(connection: sa.Connection, part: Sequence[int]) -> dict[int, int]:
    """Bytes of those that no list speaks for and that are not gone, by number."""
    item, live = disposition_items.c, disposition_lists.c.state.in_(_LIVE)
    listed = (
        sa.exists()
        .where(item.object_version_id == object_versions.c.id, disposition_lists.c.id == item.list_id)
        .where(
            sa.or_(item.state.in_(_SPOKEN_FOR), sa.and_(item.state == ItemState.LISTED, live)),
        )
    )
    rows = connection.execute(
        sa.select(object_versions.c.id, object_versions.c.size)
        .where(object_versions.c.id.in_(part), object_versions.c.destroyed_seq.is_(None), ~listed)
        .order_by(object_versions.c.id)
    )
    return {int(number): int(size) for number, size in rows}


def _decided(connection: sa.Connection, terms: Terms, part: Sequence[int]) -> list[dict[str, Any]]:
    return [_row(terms, photo) for photo in facts(connection, part)]


def _row(terms: Terms, photo: ObjectFacts) -> dict[str, Any]:
    standing = terms.standings.get(photo.collection)
    if standing is None or not decide(terms.policy, photo, standing, terms.clock).may_go:
        raise BlockedByPolicy(
            f"object version {photo.id} may go as the database decides it, and may not as `explain` does. No list was "
            "made; this is our fault, please report it"
        )
    rule, end = _longest(terms.policy, photo)
    return {"object_version_id": photo.id, "rule": rule, "not_before": end}


def _longest(policy: Policy, photo: ObjectFacts) -> tuple[str, datetime]:
    """The matching rule that kept it longest, and until when."""
    ends = []
    for rule in policy.rules:
        if matches(rule, photo):
            at = photo.date(rule.trigger)
            ends.append((not_before(at, rule.retain, rule.rounding, policy.tz) if at else NEVER, rule.name))
    end, name = max(ends)
    return name, end


def _photos(connection: sa.Connection, policy: Policy) -> int:
    """All in the policy's collections that are not gone."""
    query = (
        sa.select(sa.func.count())
        .select_from(object_versions)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(collections.c.name.in_(policy.collections), object_versions.c.destroyed_seq.is_(None))
    )
    return int(connection.execute(query).scalar_one())


def _refuse_beyond(policy: Policy, found: Size) -> None:
    limits = policy.limits
    beyond = {
        f"{limits.objects:,} objects": found.objects > limits.objects,
        percent(limits.percent): found.objects > limits.percent * found.of,
        f"{limits.bytes:,} bytes": found.bytes > limits.bytes,
    }
    if any(beyond.values()):
        said = " and ".join(limit for limit, is_so in beyond.items() if is_so)
        raise BlockedByPolicy(
            f"policy {policy.id!r} would let go of {found.objects:,} of {found.of:,} photos ({found.bytes:,} bytes), "
            f"beyond its limit of {said}. No list was made: find out why there are so many, then narrow its rules or "
            "raise the limit in a new version"
        )


def _headed(rows: Iterator[sa.Row[Any]]) -> tuple[sa.Row[Any], Iterator[Item]]:
    first = next(rows)
    return first, map(_item, chain([first], rows))


def _item(row: sa.Row[Any]) -> Item:
    return Item(
        key=row.key,
        identity=row.identity,
        object_version_id=row.object_version_id,
        sha256=row.content_sha256,
        size=row.size,
        rule=row.rule,
        not_before=rfc3339(row.not_before),
    )


def _by_code_point(connection: sa.Connection, column: sa.Column[str]) -> sa.ColumnElement[str]:
    """As Python sorts: SQLite does so by itself, PostgreSQL when it is told."""
    return sa.collate(column, "C") if connection.dialect.name == "postgresql" else column

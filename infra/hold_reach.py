"""What legal holds reach: their members, whatever holds the same bytes as one, and whatever their patterns match.

A hold is about what photos show and where they came from, not about rows that were there when it was placed: a copy
under another key, or a photo that came later, is held as well, also before anybody wrote that down. Few photos at a
time. Knows queries. Knows nothing about placing holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import sqlalchemy as sa

from fwd2bot_core.retention.decide import literal_brackets
from infra.retention_tables import hold_members, hold_queries, legal_holds
from infra.tables import object_versions


@dataclass(frozen=True, slots=True, order=True)
class Reach:
    """One hold in force, and one object version that it reaches."""

    number: int  # object version
    hold: int
    name: str
    confidential: bool


def reaching(connection: sa.Connection, numbers: Sequence[int]) -> list[Reach]:
    """Of these object versions, by number and hold; one that nothing holds is left out."""
    found = {
        *_members(connection, numbers),
        *_same_bytes(connection, numbers),
        *_matched(connection, numbers),
    }
    return sorted(found)


def held_contents() -> sa.Select[tuple[str]]:
    """The contents that a hold in force keeps, wherever they lie."""
    return (
        sa.select(object_versions.c.content_sha256)
        .join(hold_members, hold_members.c.object_version_id == object_versions.c.id)
        .join(legal_holds, legal_holds.c.id == hold_members.c.hold_id)
        .where(legal_holds.c.released_at.is_(None), object_versions.c.content_sha256.is_not(None))
    )


def _members(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[Reach]:
    query = (
        sa.select(hold_members.c.object_version_id, *_NAMED)
        .join(legal_holds, legal_holds.c.id == hold_members.c.hold_id)
        .where(hold_members.c.object_version_id.in_(numbers), legal_holds.c.released_at.is_(None))
    )
    yield from (Reach(*row) for row in connection.execute(query))


def _same_bytes(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[Reach]:
    other = object_versions.alias()
    query = (
        sa.select(object_versions.c.id, *_NAMED)
        .join(other, other.c.content_sha256 == object_versions.c.content_sha256)
        .join(hold_members, hold_members.c.object_version_id == other.c.id)
        .join(legal_holds, legal_holds.c.id == hold_members.c.hold_id)
        .where(object_versions.c.id.in_(numbers), legal_holds.c.released_at.is_(None))
        .distinct()
    )
    yield from (Reach(*row) for row in connection.execute(query))


def _matched(connection: sa.Connection, numbers: Sequence[int]) -> Iterator[Reach]:
    queries = connection.execute(
        sa.select(hold_queries.c.collection_id, hold_queries.c.pattern, *_NAMED)
        .join(legal_holds, legal_holds.c.id == hold_queries.c.hold_id)
        .where(legal_holds.c.released_at.is_(None))
    ).all()
    if not queries:
        return
    photo = object_versions.c
    photos = connection.execute(
        sa.select(photo.id, photo.collection_id, photo.key).where(photo.id.in_(numbers))
    )
    for number, collection, key in photos.all():
        for query in queries:
            if query.collection_id == collection and fnmatchcase(key, literal_brackets(query.pattern)):
                yield Reach(number, query.id, query.name, query.confidential)


_NAMED = (legal_holds.c.id, legal_holds.c.name, legal_holds.c.confidential)

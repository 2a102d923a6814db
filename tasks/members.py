"""Which object versions are meant by the names that somebody gives: keys, contents, or a pattern of keys.

Every version under a key is meant: who keeps something rather keeps too much. What is destroyed is left out. Knows
nothing of what is then done with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import sqlalchemy as sa

from fwd2bot_core.errors import NotInArchive, UsageError
from fwd2bot_core.retention.decide import literal_brackets
from infra.lookup import find
from infra.tables import collections, object_versions

CHUNK = 10_000  # keys that are held at once


def named(connection: sa.Connection, images: Iterable[str], collection: str | None = None) -> dict[int, str]:
    """The object versions of keys, or of contents by at least 12 digits of their sha256, with what they were called.

    Raises ``NotInArchive`` for a name that nothing is known of; nothing is then meant.
    """
    meant: dict[int, str] = {}
    for image in images:
        there = [row for row in find(connection, image, collection) if row.destroyed_seq is None]
        if not there:
            raise NotInArchive(f"{image!r} is destroyed; `fwd2bot certificate {image}` tells how")
        meant |= {row.id: image for row in there}
    return meant


def matching(connection: sa.Connection, pattern: str, collection: str, *, gone: bool = False) -> list[int]:
    """All object versions of a collection whose whole key matches, where * stands for any characters and ? for one.

    ``gone``: also those whose original was destroyed.

    Raises ``UsageError`` for a collection that the ledger does not know, ``NotInArchive`` where no key matches.
    """
    number = connection.execute(sa.select(collections.c.id).where(collections.c.name == collection)).scalar()
    if number is None:
        raise UsageError(f"the ledger knows no collection {collection!r}")
    rows = connection.execute(
        sa.select(object_versions.c.id, object_versions.c.key).where(
            object_versions.c.collection_id == number,
            sa.true() if gone else object_versions.c.destroyed_seq.is_(None),
        ),
        execution_options={"yield_per": CHUNK},
    )
    wanted = literal_brackets(pattern)
    found = sorted(row.id for row in rows if fnmatchcase(row.key, wanted))
    if not found:
        raise NotInArchive(f"no key of {collection!r} matches {pattern!r}")
    return found

"""A small picture of an original, for a person who may see it; each look is an event before the picture is shown.

Decoded under the limits of every photo and written anew, so that nothing of a hostile file or of its metadata reaches a
browser. Knows nothing of pages.
"""

from __future__ import annotations

import io
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import Event
from fwd2bot_core.compressor.decode import decode
from fwd2bot_core.errors import ImageRejected, NotInArchive, UsageError
from fwd2bot_core.retention.roles import Act
from infra import audit_log
from infra.database import Ledger
from infra.installation import Installation
from infra.tables import collections, object_versions
from tasks import people
from tasks.people import Person

EDGE = 480  # pixels of the longer side
EVENT = "original.seen"


def picture(house: Installation, person: str, version: int) -> bytes:
    """One object version as a JPEG of at most ``EDGE`` pixels a side.

    Raises ``AccessDenied``, after the log says so; ``NotInArchive`` for what is not known or gone, ``StoreError``,
    and ``UsageError`` for a file that shows no picture.
    """
    row = _row(house.ledger, version)
    someone = people.permitted(house.ledger, person, Act.SEE_ORIGINAL, f"{row.collection}/{row.key}")
    if row.destroyed_seq is not None:
        raise NotInArchive(
            f"{row.key!r} is destroyed; `fwd2bot certificate {row.key}` tells when and by which list"
        )
    if row.size > house.limits.max_bytes:
        raise UsageError(f"{row.key!r} has {row.size:,} bytes, which is too big to be shown")
    _note(house.ledger, someone, row)
    data = house.originals(row.collection).read(row.key, identity=row.identity)
    return _small(house, row.key, data)


def _row(ledger: Ledger, version: int) -> sa.Row[Any]:
    query = (
        sa.select(object_versions, collections.c.name.label("collection"))
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .where(object_versions.c.id == version)
    )
    with ledger.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotInArchive(f"there is no object version {version}")
    return row


def _small(house: Installation, key: str, data: bytes) -> bytes:
    try:
        image = decode(data, house.limits, target=(EDGE, EDGE)).image
    except ImageRejected as error:
        raise UsageError(f"{key!r} shows no picture: {error}") from None
    image.thumbnail((EDGE, EDGE))
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _note(ledger: Ledger, person: Person, row: sa.Row[Any]) -> None:
    with ledger.write() as connection:
        audit_log.hold(connection)
        event = Event(
            type=EVENT,
            occurred_at=audit_log.now(),
            actor=person.actor(),
            collection=audit_log.reference(connection, "collection", row.collection),
            subject={
                "unit": commitment(row.salt, "key", row.key),
                "identity": commitment(row.salt, "identity", row.identity),
            },
        )
        audit_log.append(connection, event)

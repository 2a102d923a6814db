"""What was read: contents by their hash.

Knows their table, within the transaction of a commit. Knows nothing about summary tokens or the audit trail.
"""

from __future__ import annotations

import sqlalchemy as sa

from fwd2bot_core.work import Receipt
from infra.table_types import among
from infra.tables import contents


def write(connection: sa.Connection, receipt: Receipt) -> dict[int, str]:
    """What was read, by its hash; returns by object version which of them it was found to hold. Only gaps are filled: a
    rejected photo's size in pixels may be learnt by a later try."""
    read = {image.sha256: image for image in receipt.images if image.sha256 is not None}
    if not read:
        return {}
    facts = {
        sha256: {"width": image.width, "height": image.height, "format": image.format}
        for sha256, image in read.items()
    }
    known = {
        row.sha256: row.width
        for row in connection.execute(
            sa.select(contents.c.sha256, contents.c.width).where(among(connection, contents.c.sha256, read))
        )
    }
    if rows := [
        {"sha256": sha256, "size": read[sha256].size, **facts[sha256]}
        for sha256 in read
        if sha256 not in known
    ]:
        connection.execute(contents.insert(), rows)
    for sha256, width in known.items():
        if width is None and facts[sha256]["width"] is not None:
            connection.execute(contents.update().where(contents.c.sha256 == sha256).values(facts[sha256]))
    return {i.object_version_id: i.sha256 for i in receipt.images if i.sha256 is not None}

"""The ledger's table of how far each look for new photos came.

    collections 1--* discovery_marks          when a night last looked, listed everything, read an inventory

A mark that is missing, or lies ahead of the clock, means that everything is to be listed. Knows nothing about queries.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from infra.table_types import UtcDateTime, metadata


class Mark(StrEnum):
    LOOKED = "looked"  # when the last look that succeeded began
    SWEPT = "swept"  # when the last one at everything began
    INVENTORY = "inventory"  # of when the last report was that was read


discovery_marks = sa.Table(
    "discovery_marks",
    metadata,
    sa.Column("collection_id", sa.ForeignKey("collections.id"), primary_key=True, autoincrement=False),
    sa.Column("mark", sa.String(20), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
)

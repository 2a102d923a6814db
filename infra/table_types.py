"""What every table of the ledger is made of: times, numbers, references, and the names of constraints.

Knows nothing about which tables there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime on every database; a naive one is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware datetimes only")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers only INTEGER keys by itself


def among(
    connection: sa.Connection, column: sa.ColumnElement[Any], values: Iterable[Any]
) -> sa.ColumnElement[bool]:
    """``column IN (values)``; to PostgreSQL as one array, since taking a statement with a thousand placeholders apart
    takes its driver as long as the database needs to carry it out."""
    if connection.dialect.name != "postgresql":
        return column.in_(list(values))
    array = sa.bindparam(None, list(values), type_=sa.ARRAY(column.type))
    return column == sa.any_(array)


def ref(target: str, **kwargs: Any) -> sa.Column[Any]:
    """A required foreign key column, named after what it points to: runs.id -> run_id."""
    singular = target.split(".")[0].removesuffix("s")
    return sa.Column(f"{singular}_id", sa.ForeignKey(target), nullable=False, **kwargs)

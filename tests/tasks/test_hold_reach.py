"""Holds reach copies and latecomers, by one rule in Python and in SQL."""

from __future__ import annotations

import sqlalchemy as sa

from infra.hold_reach import held_contents, reaching
from infra.retention_tables import hold_queries, legal_holds
from infra.tables import object_versions
from tests.tasks.disposals import World
from tests.tasks.steps import rows


def test_members_copies_and_what_a_pattern_matches(place: World) -> None:
    place.hold(place.numbers[1])
    copy = next(row.id for row in rows(place.house, object_versions) if row.key == "1-again.jpg")
    place.write(hold_queries.insert().values(hold_id=1, collection_id=1, pattern="2*", seen=99))
    numbers = [*place.numbers, copy]
    with place.house.ledger.read() as connection:
        assert [one.number for one in reaching(connection, numbers)] == [*place.numbers[1:], copy]
        contents = connection.execute(held_contents()).scalars().all()
        assert contents == [place.row(copy).content_sha256]
    place.write(legal_holds.update().values(released_at=sa.func.current_timestamp()))
    with place.house.ledger.read() as connection:
        assert reaching(connection, numbers) == []

"""A list as it is read: its items and their tokens, its approvals, how much would go, what clocks say."""

from __future__ import annotations

from datetime import timedelta

from fwd2bot_core.retention.disposition import ItemState
from infra import audit_log
from infra.tables import audit_anchors
from tasks.destroy_order import anchored, approvals_of, blast, elsewhere, items, read_order, times
from tests.tasks.disposals import World
from tests.tasks.steps import rows


def test_a_list_is_read_with_its_items_and_where_their_tokens_lie(world: World) -> None:
    order = read_order(world.house, world.list(world.numbers))
    with world.house.ledger.read() as connection:
        found = items(connection, order, ItemState)
        assert [order.lines[one.id]["key"] for one in found] == [one.unit.key for one in found]
        assert all(order.lines[one.id].items() >= one.as_listed().items() for one in found)
        assert {one.row for one in found} == {0, 1, 2}
        assert len({one.shard_sha256 for one in found}) == 1
        assert items(connection, order, [ItemState.INTENT]) == []
        assert [one.id for one in items(connection, order, ItemState, world.numbers[:1])] == world.numbers[:1]


def test_approvals_come_with_who_people_are_now(world: World) -> None:
    name = world.list(world.numbers)
    with world.house.ledger.read() as connection:
        found = approvals_of(connection, name)
    assert [(one.approved, one.kind, one.revoked, one.roles) for one in found] == [
        (True, "ssh", False, frozenset({"approver"}))
    ] * 2


def test_what_the_last_day_destroyed_counts(world: World) -> None:
    first, second = world.list(world.numbers[:2]), world.list(world.numbers[2:])
    world.run(first)
    order = read_order(world.house, second)
    with world.house.ledger.read() as connection:
        wanted = items(connection, order, ItemState)
        sizes = [world.row(number).size for number in world.numbers]
        found = blast(connection, order, wanted, audit_log.now())
        assert (found.objects, found.bytes, found.of) == (3, sum(sizes), 3)
        later = blast(connection, order, wanted, audit_log.now() + timedelta(days=1))
        assert (later.objects, later.bytes, later.of) == (1, sizes[2], 1)
        assert elsewhere(connection, order, world.numbers) == {
            n: [ItemState.DESTROYED] for n in world.numbers[:2]
        }


def test_what_is_kept_outside_and_what_clocks_say(world: World) -> None:
    outside = max(row.size for row in rows(world.house, audit_anchors))
    with world.house.ledger.read() as connection:
        assert anchored(connection) == outside
        said = times(world.house, connection)
    assert abs(said.here - said.ledger) < timedelta(seconds=30)
    assert said.newest is not None
    assert said.newest <= said.here

"""States only lead forward, each change with its event."""

from __future__ import annotations

from fwd2bot_core.audit.events import Actor
from fwd2bot_core.retention.disposition import ItemState, may_follow
from infra import audit_log
from infra.retention_tables import disposition_items
from tasks import destroy_ledger
from tasks.destroy_checks import Kept
from tasks.destroy_order import items, read_order
from tests.tasks.disposals import World
from tests.tasks.steps import events


def test_an_item_leaves_only_the_way_that_leads_there(world: World) -> None:
    order, actor = read_order(world.house, world.list(world.numbers[:1])), Actor("ref", "operator")
    for before in ItemState:
        for after in ItemState:
            world.write(disposition_items.update().values(state=before))
            told = len(events(world.house))
            with world.house.ledger.write() as connection:
                audit_log.hold(connection)
                (item,) = items(connection, order, ItemState)
                left = destroy_ledger.leave(connection, order, actor, item, Kept(after, "why"))
            assert left == may_follow(before, after)
            assert world.states() == [after if left else before]
            assert len(events(world.house)) == told + left


def test_intents_are_numbered_as_their_events_and_a_list_ends_with_its_items(world: World) -> None:
    order, actor = read_order(world.house, world.list(world.numbers)), Actor("ref", "operator")
    with world.house.ledger.write() as connection:
        audit_log.hold(connection)
        some = items(connection, order, ItemState)
        destroy_ledger.intend(connection, order, actor, {one.id: {} for one in some}, some)
        meant = items(connection, order, [ItemState.INTENT])
        assert not destroy_ledger.end(connection, order, actor)
    said = events(world.house, "destruction.intended")
    assert [one.intent_seq for one in meant] == [event["seq"] for event in said]
    assert [event["subject"]["object_version"] for event in said] == [one.id for one in meant]
    world.write(disposition_items.update().values(state="blocked"))
    with world.house.ledger.write() as connection:
        audit_log.hold(connection)
        assert destroy_ledger.end(connection, order, actor)
        assert not destroy_ledger.end(connection, order, actor)
    assert len(events(world.house, "list.done")) == 1

"""What an older part of the log says of shards that were written again, read as it is now."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.errors import IntegrityError
from infra.tables import audit_events
from tasks.rewrites import Rewrite, Rewrites
from tests.tasks.disposals import World
from tests.tasks.erasures import approved, carried_out, sound


def chain(first: list[int], steps: list[set[int]]) -> tuple[Rewrites, list[int]]:
    """A shard of these object versions from which some are taken, step by step; and what is left."""
    made, held = [], list(first)
    for step, gone in enumerate(steps):
        removed = tuple((row, number) for row, number in enumerate(held) if number in gone)
        if not removed:
            continue
        held = [number for number in held if number not in gone]
        after: dict[str, Any] | None = {"path": f"s{len(made) + 1}", "rows": len(held)} if held else None
        made.append(Rewrite(f"s{len(made)}", after, removed))
        assert step < 9
        if not held:
            break
    return Rewrites(made), held


numbers = st.lists(st.integers(1, 30), min_size=1, max_size=12, unique=True)


@given(numbers, st.lists(st.sets(st.integers(1, 30)), max_size=4))
def test_rows_and_numbers_come_back(first: list[int], steps: list[set[int]]) -> None:
    found, held = chain(first, steps)
    if "s0" not in found:
        assert held == first
        return
    assert found.numbers("s0", held) == first
    for row, number in enumerate(first):
        line = found.line({"shard": "s0", "row": row})
        now = found.now("s0")
        if number in held:
            assert now is not None
            assert line == {"shard": now["path"], "row": held.index(number)}
        else:
            assert line is None


def test_other_lines_stay_as_they_are() -> None:
    found, _ = chain([1, 2], [{1}])
    assert found.line({"shard": "other", "row": 5}) == {"shard": "other", "row": 5}
    assert found.line({"outcome": "rejected"}) == {"outcome": "rejected"}


def test_an_event_that_says_nothing_is_a_finding(place: World) -> None:
    carried_out(place, approved(place, "1.jpg").id)
    assert sound(place)
    place.write(sa.text("DROP TRIGGER audit_events_no_update"))
    forged = audit_events.update().where(audit_events.c.type == "shard.rewritten").values(body=b'{"seq":1}')
    place.write(forged)
    with place.house.ledger.read() as connection, pytest.raises(IntegrityError, match="does not say"):
        Rewrites.read(connection)
    assert not sound(place)

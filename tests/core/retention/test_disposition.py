"""Lists that cannot be changed, and ways that only lead forward."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.retention.disposition import (
    Heading,
    Item,
    ItemState,
    ListState,
    is_end,
    may_follow,
    read_list,
    statement,
    write_list,
)

HEADING = Heading(
    list_id="list-1",
    collection="line-1",
    policy_id="seven-years",
    policy_version=3,
    policy_sha256="a" * 64,
    compressor="c" * 64,
    as_of=datetime(2026, 11, 25, tzinfo=UTC),
    author="ref",
    approvals=2,
)


def item(key: str, number: int = 1) -> Item:
    return Item(
        key=key,
        identity=f"v:{number}",
        object_version_id=number,
        sha256="b" * 64,
        size=100,
        rule="photos",
        not_before="2026-11-01T00:00:00.000000Z",
    )


def test_a_list_reads_back_as_it_was_written() -> None:
    data = b"".join(write_list(HEADING, [item("a"), item("b", 2)]))
    heading, items = read_list(data, hashlib.sha256(data).hexdigest())
    assert (heading["list_id"], heading["as_of"]) == ("list-1", "2026-11-25T00:00:00.000000Z")
    assert [(one["key"], one["object_version_id"]) for one in items] == [("a", 1), ("b", 2)]


def test_a_list_that_was_changed_is_refused() -> None:
    data = b"".join(write_list(HEADING, [item("a")]))
    sha256 = hashlib.sha256(data).hexdigest()
    for other in (data.replace(b'"a"', b'"b"'), data[:-1], data + data, b""):
        with pytest.raises(IntegrityError, match="hash"):
            read_list(other, sha256)


def test_a_list_of_another_version_or_cut_off_is_refused_also_with_its_hash() -> None:
    data = b"".join(write_list(HEADING, [item("a")]))
    for other, said in ((data.replace(b'"v":1', b'"v":2'), "version 2"), (data[:-1], "cut off")):
        with pytest.raises(IntegrityError, match=said):
            read_list(other, hashlib.sha256(other).hexdigest())


@pytest.mark.parametrize("items", [[item("b"), item("a")], [item("a"), item("a")]])
def test_items_in_disorder_or_twice_are_refused(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="sorted, each version once"):
        list(write_list(HEADING, items))


def test_no_way_leads_back_from_an_end() -> None:
    ends = {state for state in ItemState if is_end(state)}
    assert ends == {
        ItemState.RESCUED, ItemState.BLOCKED, ItemState.CHANGED, ItemState.MISSING, ItemState.DESTROYED
    }  # fmt: skip
    assert not any(may_follow(end, state) for end in ends for state in ItemState)


def test_nothing_is_destroyed_without_an_intent() -> None:
    before = {state for state in ItemState if may_follow(state, ItemState.DESTROYED)}
    assert before == {ItemState.INTENT, ItemState.UNKNOWN}
    assert {state for state in ItemState if may_follow(state, ItemState.UNKNOWN)} == {ItemState.INTENT}
    assert not any(may_follow(state, ItemState.LISTED) for state in ItemState)


def test_only_an_approved_list_is_done() -> None:
    assert {state for state in ListState if may_follow(state, ListState.DONE)} == {ListState.GRACE}
    assert not any(may_follow(ListState.REFUSED, state) for state in ListState)


def test_states_of_a_list_and_of_an_item_are_not_mixed() -> None:
    with pytest.raises(TypeError, match="not states of one thing"):
        may_follow(ListState.OPEN, ItemState.DESTROYED)


def test_what_is_signed_names_the_list_the_person_and_the_decision() -> None:
    base = {"person": "p", "approved": True, "reason": "r"}
    signed = {
        statement("l", "s", "q", **base),
        statement("m", "s", "q", **base),
        statement("l", "t", "q", **base),
        statement("l", "s", "z", **base),
        statement("l", "s", "q", **{**base, "person": "o"}),
        statement("l", "s", "q", **{**base, "approved": False}),
        statement("l", "s", "q", **{**base, "reason": "x"}),
    }
    assert len(signed) == 7

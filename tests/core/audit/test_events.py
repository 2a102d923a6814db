from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fwd2bot_core
from fwd2bot_core.audit.canonical import canonical, parse
from fwd2bot_core.audit.events import Actor, Event, rfc3339
from fwd2bot_core.audit.tiles import MOST_BYTES, decode_entries, encode_entries
from fwd2bot_core.errors import UsageError

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
ID = UUID("01234567-89ab-cdef-0123-456789abcdef")


def event(**fields: Any) -> Event:
    known: dict[str, Any] = {
        "type": "run.started",
        "occurred_at": NOON,
        "actor": Actor("actor:1", "scheduler"),
        "event_id": ID,
        "software": "fwd2bot 9",
    }
    return Event(**known | fields)


def test_the_smallest_event_byte_by_byte() -> None:
    assert event().body(0) == (
        b'{"actor":{"ref":"actor:1","role":"scheduler"},"clock":{"source":"system"},'
        b'"event_id":"01234567-89ab-cdef-0123-456789abcdef","occurred_at":"2026-11-24T12:00:00.000000Z",'
        b'"seq":0,"software":"fwd2bot 9","type":"run.started","v":1}'
    )


def test_an_event_is_no_longer_than_a_tile_can_hold() -> None:
    """An entry bundle says an entry's length in two bytes."""
    room = MOST_BYTES - len(event(reason_text="").body(0))
    whole = event(reason_text="x" * room).body(0)
    assert decode_entries(encode_entries([whole])) == [whole]
    with pytest.raises(UsageError, match="65,536 bytes, and the log holds 65,535"):
        event(reason_text="x" * (room + 1)).body(0)


def test_everything_that_is_known_stands_in_the_body() -> None:
    optional = {
        "on_behalf_of": "actor:2",
        "run_id": "r1",
        "collection": "c1",
        "subject": {"batch_id": "00", "rows": 3},
        "before": {"state": "claimed"},
        "after": {"state": "committed"},
        "reason_code": "planned",
        "reason_text": "Nächtlicher Lauf",
        "policy": {"id": "p", "version": 2, "sha256": "ff"},
        "compressor": "ab" * 32,
    }
    body = parse(event(**optional).body(41))
    assert body == optional | {
        "v": 1,
        "seq": 41,
        "event_id": str(ID),
        "type": "run.started",
        "occurred_at": "2026-11-24T12:00:00.000000Z",
        "clock": {"source": "system"},
        "actor": {"ref": "actor:1", "role": "scheduler"},
        "software": "fwd2bot 9",
    }


def test_an_empty_fact_is_a_fact_and_only_none_is_left_out() -> None:
    body = parse(event(before={}, reason_text="").body(1))
    assert body["before"] == {}
    assert body["reason_text"] == ""
    assert "after" not in body


def test_an_event_says_which_software_wrote_it_and_has_a_name_of_its_own() -> None:
    one, two = (Event(type="t", occurred_at=NOON, actor=Actor("a", "r")) for _ in range(2))
    assert one.event_id != two.event_id
    assert parse(one.body(0))["software"] == f"fwd2bot {fwd2bot_core.__version__}"


def test_what_the_profile_does_not_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="float"):
        event(after={"ratio": 0.5}).body(0)
    with pytest.raises(ValueError, match="numbered from 0"):
        event().body(-1)
    with pytest.raises(ValueError, match="no time zone"):
        event(occurred_at=datetime(2026, 1, 1)).body(0)


@given(st.datetimes(timezones=st.timezones(), min_value=datetime(1970, 1, 2), max_value=datetime(2999, 1, 1)))
def test_times_are_utc_to_the_microsecond(moment: datetime) -> None:
    text = rfc3339(moment)
    assert len(text) == len("2026-11-24T17:02:03.000004Z")
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.astimezone(UTC)


def test_another_offset_is_the_same_moment() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert rfc3339(datetime(2026, 11, 24, 21, 0, tzinfo=tokyo)) == rfc3339(NOON)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
facts = st.dictionaries(st.sampled_from("abcz"), st.integers(0, 9) | words | st.none())


@given(
    st.fixed_dictionaries(
        {
            "type": words,
            "clock": words,
            "software": words,
            "occurred_at": st.datetimes(timezones=st.just(UTC)),
        },
        optional=dict.fromkeys(("on_behalf_of", "run_id", "collection", "reason_code", "reason_text"), words)
        | dict.fromkeys(("subject", "before", "after", "policy"), facts),
    )
)
def test_any_event_has_canonical_bytes(fields: dict[str, Any]) -> None:
    body = event(**fields).body(5)
    assert canonical(parse(body)) == body
    said = parse(body)
    assert {name: said[name] for name in fields if name not in ("occurred_at", "clock")} == {
        name: value for name, value in fields.items() if name not in ("occurred_at", "clock")
    }


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize("name", ["type", "run_id", "reason_text", "software", "clock"])
def test_a_text_that_no_reader_takes_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|not valid Unicode"):
        event(**{name: text}).body(0)

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit.canonical import canonical, commitment, parse
from fwd2bot_core.errors import IntegrityError

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
keys = st.text(st.characters(min_codepoint=1, max_codepoint=127))
scalars = st.none() | st.booleans() | text | st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)
bodies = st.dictionaries(keys, values)


@given(bodies)
def test_the_bytes_are_those_of_rfc_8785(body: dict[str, Any]) -> None:
    assert canonical(body) == rfc8785.dumps(body)


@given(bodies)
def test_parse_gives_back_what_was_said(body: dict[str, Any]) -> None:
    assert parse(canonical(body)) == body


def test_every_control_character_is_escaped_as_rfc_8785_says() -> None:
    body = {"x": "".join(map(chr, range(1, 0x100))) + '"\\/\u2028\U0001f600'}
    assert canonical(body) == rfc8785.dumps(body)


def test_what_is_as_good_as_plain_json_is_taken() -> None:
    class Reason(StrEnum):
        EMPTY = "empty"

    class Exit(IntEnum):
        OK = 0

    body: Mapping[str, Any] = MappingProxyType(
        {"a": (1, Reason.EMPTY), "b": MappingProxyType({"c": Exit.OK})}
    )
    assert canonical(body) == b'{"a":[1,"empty"],"b":{"c":0}}'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        2**53,
        -(2**53),
        "a\0b",
        "\ud800",
        b"bytes",
        {1, 2},
        complex(1, 2),
        {1: 2},
        {"é": 1},
        {"a\0": 1},
        {None: 1},
        [[1.5]],
        {"a": {"b": 2**60}},
    ],
    ids=repr,
)
def test_anything_outside_the_profile_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical({"field": value})


def test_a_body_is_an_object() -> None:
    others: list[Any] = [[], "text", None, 1]
    for body in others:
        with pytest.raises(ValueError, match="JSON object"):
            canonical(body)


def test_nesting_has_an_end() -> None:
    body: Any = {}
    for _ in range(5000):
        body = {"a": body}
    with pytest.raises(ValueError, match="nested deeper"):
        canonical(body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":NaN}',
        b'{"a":"\\u0041"}',
        b'{"a":1}\n',
        b"[1]",
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_bytes_that_are_not_canonical_are_no_record(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="not a canonical audit record"):
        parse(data)


SALT = bytes(range(16))


def test_a_commitment_is_the_hash_it_is_documented_to_be() -> None:
    def part(data: bytes) -> bytes:
        return len(data).to_bytes(8, "big") + data

    expected = hashlib.sha256(b"fwd2bot commitment v1" + part(SALT) + part(b"key") + part("é.jpg".encode()))
    assert commitment(SALT, "key", "é.jpg") == expected.hexdigest()


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=20), text, text), min_size=2, max_size=2))
def test_different_things_have_different_commitments(parts: list[tuple[bytes, str, str]]) -> None:
    one, two = parts
    assert (commitment(*one) == commitment(*two)) == (one == two)


def test_the_border_between_field_and_value_counts() -> None:
    assert commitment(SALT, "ab", "c") != commitment(SALT, "a", "bc")
    assert commitment(SALT + b"k", "ey", "v") != commitment(SALT, "key", "v")


def test_a_salt_that_can_be_guessed_is_refused() -> None:
    for salt in (b"", b"short", bytes(15)):
        with pytest.raises(ValueError, match=f"salt of {len(salt)} bytes"):
            commitment(salt, "key", "value")

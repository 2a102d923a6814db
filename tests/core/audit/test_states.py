"""What a state list proves, and what it does not let anybody claim."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit import state_list
from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.audit.merkle import leaf_hash, root
from fwd2bot_core.audit.state_list import Manifest, check_part, listed, read_part, write_parts
from fwd2bot_core.audit.states import (
    HALF,
    Line,
    Listed,
    References,
    State,
    checked,
    secret_hash,
    verify_absent,
    verify_listed,
    verify_present,
)
from fwd2bot_core.errors import IntegrityError

SECRET = bytes(range(32))
REFERENCES = References(SECRET)
Made = tuple[Manifest, list[list[bytes]], list[bytes]]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_list, "PART", 8)


def key(number: int) -> str:
    return f"line 1/Jürgen {number}.jpg"


def line(number: int, n: int = 1) -> Line:
    return Line(REFERENCES.version("mill", key(number), "v:1"), n, State.COMPRESSED)


def make(count: int) -> Made:
    """A list of ``count`` keys: its manifest, the lines of each part, the parts' bytes."""
    made = list(write_parts(sorted(line(number, number % 3) for number in range(count)), "audit/states/x"))
    parts = [part for part, _ in made]
    lines = [read_part(part, body) for part, body in made]
    return Manifest.over(parts, 5, secret_hash(SECRET)), lines, [body for _, body in made]


def at(made: Made, index: int) -> Listed | None:
    manifest, lines, _ = made
    return listed(manifest, index, lines[index // 8]) if 0 <= index < manifest.rows else None


def place(made: Made, ref: bytes) -> int:
    return sum(Line.decode(each).ref < ref for part in made[1] for each in part)


@pytest.mark.parametrize("superseded", [False, True])
@pytest.mark.parametrize("state", State)
def test_a_line_is_canonical_json_and_comes_back(state: State, superseded: bool) -> None:
    made = Line(bytes(range(32)), 7, state, superseded)
    said = {"n": 7, "ref": bytes(range(32)).hex(), "state": str(state)}
    assert made.encode() == canonical(said | ({"superseded": True} if superseded else {}))
    assert Line.decode(made.encode()) == made == Line.unpack(made.pack())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"n":7', b'"n":07'),
        (b'"n":7', b'"n":-7'),
        (b'"n":7', b'"n":7.0'),
        (b'"n":7', b'"n":99999999999999999'),
        (b'"n":7', b'"n":9999999999999999'),
        (b"00010203", b"000102"),
        (b"0e0f", b"0E0F"),
        (b"compressed", b"dismantled"),
        (b'"}', b'","superseded":false}'),
        (b'"}', b'","x":1}'),
        (b'"n":7,', b'"n": 7,'),
        (b"}", b"}\n"),
    ],
)
def test_what_is_no_line_is_refused(old: bytes, new: bytes) -> None:
    good = Line(bytes(range(32)), 7, State.COMPRESSED).encode()
    assert old in good
    with pytest.raises(IntegrityError, match="not a line"):
        Line.decode(good.replace(old, new))


def test_a_reference_is_an_hmac_of_the_length_prefixed_names() -> None:
    def half(what: bytes, *names: bytes) -> bytes:
        fed = b"".join(len(name).to_bytes(8, "big") + name for name in names)
        return hmac.digest(SECRET, b"fwd2bot state " + what + fed, hashlib.sha256)[:16]

    names = (b"mill", "Jürgen".encode(), b"v:1")
    assert REFERENCES.version("mill", "Jürgen", "v:1") == half(b"key v1", *names[:2]) + half(
        b"version v1", *names
    )
    assert REFERENCES.key("mill", "Jürgen") == REFERENCES.version("mill", "Jürgen", "v:2")[:HALF]
    assert References(bytes(32)).key("mill", "a") != REFERENCES.key("mill", "a")
    assert REFERENCES.key("mi", "lla") != REFERENCES.key("mill", "a")
    assert REFERENCES.key("mill", "\udcff.jpg") != REFERENCES.key("mill", "\ud8ff.jpg")
    with pytest.raises(ValueError, match="32 bytes"):
        References(b"short")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 16, 17, 23, 24, 41])
def test_each_line_leads_to_the_root_of_all_lines(count: int) -> None:
    made = make(count)
    manifest, lines, _ = made
    flat = [each for part in lines for each in part]
    assert flat == sorted(flat, key=lambda each: Line.decode(each).ref)
    assert manifest.root == root(map(leaf_hash, flat)).hex()
    assert (manifest.rows, manifest.facts) == (count, sum(number % 3 for number in range(count)))
    assert Manifest.decode(manifest.encode()) == manifest
    for index, each in enumerate(flat):
        found = at(made, index)
        assert found is not None
        assert verify_listed(manifest.summit, found) == Line.decode(each)
        if index + 1 < count:
            with pytest.raises(IntegrityError, match="does not lead to its root"):
                verify_listed(manifest.summit, replace(found, index=index + 1))


@given(st.integers(0, 30), st.integers(0, 1000))
def test_a_key_is_proven_absent_exactly_if_no_version_of_it_is_there(count: int, other: int) -> None:
    made = make(count)
    summit, sought = made[0].summit, key(other)
    edge = place(made, REFERENCES.key("mill", sought) + bytes(HALF))
    right = at(made, edge - 1), at(made, edge)
    if other >= count:
        verify_absent(summit, SECRET, "mill", sought, *right)
    ends = [(-2, -1), (0, 0), (0, 1), (-1, 1), (-1 - edge, count - edge)]
    pairs = {(at(made, edge + before), at(made, edge + after)) for before, after in ends} | {right}
    for before, after in pairs - ({right} if other >= count else set()):
        with pytest.raises(IntegrityError, match="no neighbours"):
            verify_absent(summit, SECRET, "mill", sought, before, after)


def test_an_absence_holds_for_every_version_and_for_its_collection_only() -> None:
    made = make(20)
    summit = made[0].summit
    edge = place(made, REFERENCES.key("press", key(3)) + bytes(HALF))
    verify_absent(summit, SECRET, "press", key(3), at(made, edge - 1), at(made, edge))
    version = place(made, REFERENCES.version("mill", key(3), "v:2"))
    sides = {at(made, index) for index in (version - 1, version, version + 1)}
    for before in sides:
        for after in sides:
            with pytest.raises(IntegrityError, match="no neighbours"):
                verify_absent(summit, SECRET, "mill", key(3), before, after)


def test_a_full_list_cannot_pass_for_an_empty_one() -> None:
    with pytest.raises(IntegrityError, match="no neighbours"):
        verify_absent(replace(make(3)[0].summit, rows=0), SECRET, "mill", key(9), None, None)


def test_nobody_can_bring_another_secret_than_the_one_that_was_logged() -> None:
    made = make(20)
    other = bytes(32)
    edge = place(made, References(other).key("mill", key(3)) + bytes(HALF))
    with pytest.raises(IntegrityError, match="not the one that the log names"):
        verify_absent(made[0].summit, other, "mill", key(3), at(made, edge - 1), at(made, edge))


def test_a_line_is_about_one_version() -> None:
    made = make(20)
    mine = at(made, place(made, line(4).ref))
    assert mine is not None
    assert verify_present(made[0].summit, SECRET, "mill", key(4), "v:1", mine) == line(4, 1)
    for names in (("mill", key(4), "v:2"), ("mill", key(5), "v:1"), ("press", key(4), "v:1")):
        with pytest.raises(IntegrityError, match="another object"):
            verify_present(made[0].summit, SECRET, *names, mine)
    forged = replace(mine, line=line(4, 0).encode())
    with pytest.raises(IntegrityError, match="does not lead"):
        verify_present(made[0].summit, SECRET, "mill", key(4), "v:1", forged)


def test_a_list_out_of_order_or_with_a_line_twice_is_refused() -> None:
    lines = [each for part in make(20)[1] for each in part]
    assert len(list(checked(iter(lines)))) == 20
    for wrong in ([lines[1], lines[0]], [lines[0], lines[0]]):
        with pytest.raises(IntegrityError, match="not sorted"):
            list(checked(wrong))


def test_a_part_is_checked_for_itself() -> None:
    manifest, lines, bodies = make(20)
    first = manifest.parts[0]
    with pytest.raises(IntegrityError, match="bytes that its manifest names"):
        read_part(first, bodies[1])
    shorter = pa.compress(b"".join(each + b"\n" for each in lines[0][1:]), codec="zstd", asbytes=True)
    with pytest.raises(IntegrityError, match="lines that its manifest names"):
        read_part(replace(first, sha256=hashlib.sha256(shorter).hexdigest()), shorter)
    with pytest.raises(IntegrityError, match="cannot be decompressed"):
        read_part(replace(first, sha256=hashlib.sha256(b"x" * 50).hexdigest()), b"x" * 50)
    check_part(first, lines[0])
    for wrong in (replace(first, facts=first.facts + 1), replace(first, first="0" * 64)):
        with pytest.raises(IntegrityError, match="add up"):
            check_part(wrong, lines[0])


def test_a_small_file_that_unpacks_to_very_much_is_refused() -> None:
    bomb = pa.compress(bytes(50_000_000), codec="zstd", asbytes=True)
    part = replace(make(8)[0].parts[0], sha256=hashlib.sha256(bomb).hexdigest())
    with pytest.raises(IntegrityError, match="more than its lines can be"):
        read_part(part, bomb)


def test_a_manifest_must_agree_with_its_parts() -> None:
    manifest = make(20)[0]
    for wrong in (
        replace(manifest, rows=19),
        replace(manifest, facts=0),
        replace(manifest, root="0" * 64),
        replace(manifest, parts=manifest.parts[::-1]),
        Manifest.over(manifest.parts[::-1], 5, manifest.secret_sha256),
    ):
        with pytest.raises(IntegrityError, match="agree with its parts"):
            Manifest.decode(wrong.encode())
    for data in (b"{}", b"[]", b"", b'{"parts":[{}]}', manifest.encode()[:-1]):
        with pytest.raises(IntegrityError):
            Manifest.decode(data)


def test_no_name_stands_in_a_list() -> None:
    manifest, lines, _ = make(20)
    said = b"".join([manifest.encode(), *(each for part in lines for each in part)])
    for word in ("mill", "Jürgen", "v:1", SECRET.hex(), "jpg"):
        assert word.encode() not in said

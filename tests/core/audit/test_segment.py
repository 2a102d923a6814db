from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.merkle import leaf_hash, root
from fwd2bot_core.audit.segment import read_segment, segment_path, verify_subroot, write_segment
from fwd2bot_core.errors import IntegrityError, RejectReason
from fwd2bot_core.tokens.fidelity import Fidelity, probes_sha256
from fwd2bot_core.work import Batch, ImageFact, Reject, Unit, batch_id_of

FINGERPRINT = "ab" * 32
NIGHT = date(2026, 11, 24)
SHARD = "tokens/compressor=abababababab/date=2026-11-24/0-1.parquet"


def unit(number: int) -> Unit:
    key = f"line 1/Jürgen {number}.jpg"
    seen = datetime(2026, 1, 1, tzinfo=UTC)
    return Unit(number, "mill", key, f"v:{number}", 10, seen, bytes([number]) * 16, facts=number - 3)


UNITS = tuple(unit(number) for number in (5, 3, 9))
BATCH = Batch(batch_id_of(UNITS, FINGERPRINT), FINGERPRINT, NIGHT, UNITS)
HASHES = [sha256(bytes([number])).hexdigest() for number in range(3)]
IMAGES = [
    ImageFact(5, HASHES[0], 1234, 640, 480, "JPEG", 0, None),
    ImageFact(
        3, HASHES[1], 99, None, None, None, None, Reject(RejectReason.TRUNCATED, "JPEG: Jürgen 3.jpg cut")
    ),
    ImageFact(9, None, None, None, None, None, None, Reject(RejectReason.VANISHED, "gone")),
]


def test_one_line_an_image_in_the_order_of_the_batch() -> None:
    data, _ = write_segment(BATCH, IMAGES, SHARD)
    common = {"v": 4, "batch_id": BATCH.batch_id, "night": "2026-11-24", "compressor": FINGERPRINT}
    salts = [found.salt for found in UNITS]
    names = [
        {
            "n": found.facts,
            "unit": commitment(found.salt, "key", found.key),
            "identity": commitment(found.salt, "identity", found.identity),
        }
        for found in UNITS
    ]
    assert read_segment(data) == [
        common
        | names[0]
        | {
            "content": commitment(salts[0], "sha256", HASHES[0]),
            "size": 1234,
            "outcome": "compressed",
            "shard": SHARD,
            "row": 0,
        },
        common
        | names[1]
        | {
            "content": commitment(salts[1], "sha256", HASHES[1]),
            "size": 99,
            "outcome": "rejected",
            "reason": "truncated",
        },
        common | names[2] | {"outcome": "rejected", "reason": "vanished"},
    ]


def test_fidelity_is_part_of_what_is_proven() -> None:
    known = [replace(IMAGES[0], fidelity=Fidelity(0.98765432, 1)), *IMAGES[1:]]
    probes = ("what is it ?", "is it whole ?")
    data, subroot = write_segment(BATCH, known, SHARD, probes)
    said = [line.get("fidelity") for line in read_segment(data)]
    assert said == [{"millionths": 987654, "worst": 1, "probes": probes_sha256(probes)}, None, None]
    assert b"whole" not in data
    for other in (Fidelity(0.98765, 1), Fidelity(0.98765432, 0)):
        assert (
            write_segment(BATCH, [replace(known[0], fidelity=other), *IMAGES[1:]], SHARD, probes)[1]
            != subroot
        )
    assert write_segment(BATCH, known, SHARD, probes[:1])[1] != subroot


def test_the_number_of_a_fact_is_part_of_what_is_proven() -> None:
    data, subroot = write_segment(BATCH, IMAGES, SHARD)
    assert [line["n"] for line in read_segment(data)] == [2, 0, 6]
    later = replace(BATCH, units=(replace(UNITS[0], facts=3), *UNITS[1:]))
    assert write_segment(later, IMAGES, SHARD)[1] != subroot


def test_a_segment_of_the_second_version_is_still_proven() -> None:
    line = (
        b'{"batch_id":"00","compressor":"ab","content":"01","fidelity":{"millionths":987654,"probes":"04","worst":1},'
        b'"identity":"02","night":"2026-11-24","outcome":"compressed","row":0,"shard":"tokens/a.parquet","size":1234,'
        b'"unit":"03","v":2}'
    )
    verify_subroot(line + b"\n", "467aae03dff3e7d0e2f5b8c1a2152916ba2bd4da3df082c9c49c2e1e4adaa59c")
    assert read_segment(line + b"\n")[0]["fidelity"]["worst"] == 1


def test_a_segment_of_the_first_version_is_still_proven() -> None:
    line = (
        b'{"batch_id":"00","compressor":"ab","content":"01","identity":"02","night":"2026-11-24","outcome":'
        b'"compressed","row":0,"shard":"tokens/a.parquet","size":1234,"unit":"03","v":1}'
    )
    verify_subroot(line + b"\n", "bca3b6fa811f7d2efd5f52350818a76ff2dae34715b946f18b39f680d94069f9")
    assert read_segment(line + b"\n")[0]["v"] == 1


def test_no_name_no_key_and_no_hash_stands_in_clear() -> None:
    data, _ = write_segment(BATCH, IMAGES, SHARD)
    for secret in ("Jürgen", "jpg", "v:5", HASHES[0], HASHES[1], "mill", bytes([5] * 16).hex()):
        assert secret.encode() not in data
        assert json.dumps(secret)[1:-1].encode() not in data


def test_a_second_run_gives_the_same_bytes_whatever_the_order_of_its_facts() -> None:
    assert write_segment(BATCH, IMAGES, SHARD) == write_segment(BATCH, IMAGES[::-1], SHARD)


def test_a_batch_of_rejects_needs_no_shard() -> None:
    batch = replace(BATCH, units=UNITS[1:])
    data, _ = write_segment(batch, IMAGES[1:], None)
    assert [line["outcome"] for line in read_segment(data)] == ["rejected", "rejected"]


def test_the_root_is_that_of_the_lines() -> None:
    data, subroot = write_segment(BATCH, IMAGES, SHARD)
    assert data.endswith(b"}\n")
    assert subroot == root(leaf_hash(line) for line in data.splitlines()).hex()
    verify_subroot(data, subroot)
    empty, nothing = write_segment(replace(BATCH, units=()), [], None)
    assert (empty, read_segment(empty)) == (b"", [])
    verify_subroot(empty, nothing)


def test_each_unit_needs_exactly_one_fact() -> None:
    for images in (IMAGES[:2], [*IMAGES, IMAGES[0]], [IMAGES[0], IMAGES[0], IMAGES[1]], []):
        with pytest.raises(ValueError, match="3 units but"):
            write_segment(BATCH, images, SHARD)
    with pytest.raises(ValueError, match="3 units but"):
        write_segment(BATCH, [*IMAGES[:2], replace(IMAGES[2], object_version_id=8)], SHARD)


def test_an_outcome_is_never_guessed() -> None:
    with pytest.raises(ValueError, match="neither rejected nor in a shard"):
        write_segment(BATCH, IMAGES, None)
    with pytest.raises(ValueError, match="object version 5 is neither"):
        write_segment(BATCH, [replace(IMAGES[0], row=None), *IMAGES[1:]], SHARD)


def test_the_path_names_night_inputs_and_body() -> None:
    assert segment_path(NIGHT, "0123456789abcdef" * 2, "fedcba9876543210" * 4) == (
        "audit/segments/date=2026-11-24/0123456789abcdef-fedcba9876543210.jsonl"
    )


@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    segment, subroot = write_segment(BATCH, IMAGES, SHARD)
    place = data.draw(st.integers(0, len(segment) - 1))
    changed = bytearray(segment)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError):
        verify_subroot(bytes(changed), subroot)
    with pytest.raises(IntegrityError):
        verify_subroot(segment[:place], subroot)


def test_lines_that_were_dropped_swapped_or_reformatted_are_noticed() -> None:
    segment, subroot = write_segment(BATCH, IMAGES, SHARD)
    first, second, third = segment.splitlines(keepends=True)
    for changed in (first + second, second + first + third, segment + third, segment + b"\n"):
        with pytest.raises(IntegrityError):
            verify_subroot(changed, subroot)
    with pytest.raises(IntegrityError, match="not a canonical"):
        read_segment(segment.replace(b'","', b'", "'))
    with pytest.raises(IntegrityError, match="cut off"):
        read_segment(segment[:-1])

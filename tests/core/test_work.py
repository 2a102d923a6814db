from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.errors import RejectReason
from fwd2bot_core.work import (
    Batch,
    ImageFact,
    Receipt,
    Reject,
    SegmentFact,
    ShardFact,
    StageSeconds,
    Unit,
    batch_id_of,
)

FINGERPRINT = "ab" * 32


def unit(key: str = "line 1/é.jpg", identity: str = "v:1", collection: str = "press") -> Unit:
    return Unit(7, collection, key, identity, 1000, datetime(2026, 11, 24, tzinfo=UTC), b"s" * 16)


def test_a_batch_is_named_by_what_is_compressed_with_what() -> None:
    name = batch_id_of([unit(), unit("b")], FINGERPRINT)
    assert len(name) == 32
    assert int(name, 16) >= 0
    assert name == batch_id_of([unit("b"), unit()], FINGERPRINT), "order does not matter"
    other_row = replace(unit(), object_version_id=8, size=9)
    assert name == batch_id_of([other_row, unit("b")], FINGERPRINT), "the ledger's own numbers do not matter"
    different = [
        batch_id_of([unit()], FINGERPRINT),
        batch_id_of([unit("c"), unit("b")], FINGERPRINT),
        batch_id_of([unit(identity="v:2"), unit("b")], FINGERPRINT),
        batch_id_of([unit(collection="mill"), unit("b")], FINGERPRINT),
        batch_id_of([unit(), unit("b")], "ba" * 32),
        batch_id_of([replace(unit(), salt=b"t" * 16), unit("b")], FINGERPRINT),
    ]
    assert len({name, *different}) == 7


def test_the_name_of_a_batch_never_changes_between_versions() -> None:
    assert batch_id_of([unit()], FINGERPRINT) == "824fbdae886588ef42d584d59b20d80a"


names = st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3)), max_size=3)


@given(names, names)
def test_different_batches_have_different_names(
    one: list[tuple[str, str, str]], two: list[tuple[str, str, str]]
) -> None:
    def name(parts: list[tuple[str, str, str]]) -> str:
        return batch_id_of([unit(key, identity, collection) for collection, key, identity in parts], "f")

    assert (name(one) == name(two)) == (sorted(one) == sorted(two))


def test_a_file_name_that_is_no_valid_unicode_can_be_planned() -> None:
    assert batch_id_of([unit("\udcff.jpg")], FINGERPRINT) != batch_id_of([unit("\ud8ff.jpg")], FINGERPRINT)


def test_a_receipt_travels_between_processes() -> None:
    batch = Batch("0" * 32, FINGERPRINT, date(2026, 11, 24), (unit(),))
    receipt = Receipt(
        batch_id=batch.batch_id,
        shard=ShardFact("tokens/x.parquet", "c" * 64, 10, 1, "exact"),
        segment=SegmentFact("audit/x.jsonl", "d" * 64, 11, 1, "e" * 64),
        images=(ImageFact(7, None, None, None, None, None, None, Reject(RejectReason.VANISHED, "gone")),),
        stages=StageSeconds(fetch=1.5),
        bytes_in=0,
        bytes_out=21,
        worker="w1",
    )
    assert pickle.loads(pickle.dumps((batch, receipt))) == (batch, receipt)
    with pytest.raises(FrozenInstanceError):
        receipt.worker = "w2"  # type: ignore[misc]


def test_stage_seconds_add_up_stage_by_stage() -> None:
    total = sum([StageSeconds(1, 2, 3, 4, 5, 6), StageSeconds(fetch=10, wait=60)], StageSeconds())
    assert total == StageSeconds(11, 2, 3, 4, 5, 66)


def test_what_travels_needs_no_heavy_library() -> None:
    code = (
        "import sys, fwd2bot_core.work; print([m for m in ('torch', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"

"""The vectors of a shard: all of them in parts, or some rows; both say whose they are."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from fwd2bot_core.errors import CompressorMismatch, IntegrityError
from fwd2bot_core.tokens import vectors
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.vectors import read_vectors, scan
from tests.core.tokens.shards import Made, made

MADE = made(150, first=1000)
BY = MADE.spec.fingerprint


def units(shard: Made) -> Any:
    return shard.pooled / np.linalg.norm(shard.pooled, axis=1, keepdims=True)


def read(data: bytes) -> list[vectors.Vectors]:
    return list(scan(io.BytesIO(data), BY))


@pytest.mark.parametrize("at_once", [1, 70 * 8 * 4, 2**20])
def test_parts_are_all_rows_in_order(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "AT_ONCE", at_once)
    parts = read(MADE.data)
    assert len(parts) == {1: 3, 70 * 8 * 4: 3, 2**20: 1}[at_once]
    assert [part.first for part in parts] == np.cumsum([0, *(len(p.numbers) for p in parts)])[:-1].tolist()
    np.testing.assert_array_equal(
        np.concatenate([part.numbers for part in parts]), [row.object_version_id for row in MADE.rows]
    )
    np.testing.assert_array_equal(np.concatenate([part.vectors for part in parts]), MADE.pooled)


@pytest.mark.parametrize("codec", NAMES)
def test_rows_come_in_the_order_that_was_asked_for(codec: CodecName) -> None:
    shard = made(150, codec=codec)
    rows = [149, 3, 64, 3]
    numbers, found = read_vectors(io.BytesIO(shard.data), rows, BY)
    assert numbers.tolist() == rows
    length = np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found / length, units(shard)[rows], atol=0.01)


def test_another_compressor_s_vectors_are_refused() -> None:
    for call in (
        lambda by: list(scan(io.BytesIO(MADE.data), by)),
        lambda by: read_vectors(io.BytesIO(MADE.data), [0], by),
    ):
        with pytest.raises(CompressorMismatch, match="not by cdcdcdcdcdcd"):
            call("cd" * 32)


def test_damage_is_noticed() -> None:
    with pytest.raises(IntegrityError, match="not a readable shard"):
        read(MADE.data[:-20])
    with pytest.raises(IntegrityError, match="so no row 150"):
        read_vectors(io.BytesIO(MADE.data), [150], BY)


def test_a_vector_that_is_no_number_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = np.full((64, 8), np.nan, np.float32)
    monkeypatch.setattr("fwd2bot_core.tokens.pooled.decode", lambda *_: spoilt)
    with pytest.raises(IntegrityError, match="is not finite"):
        read(MADE.data)

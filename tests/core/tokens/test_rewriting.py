"""A shard without some rows is the shard that was never given them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.rewriting import without_rows
from fwd2bot_core.tokens.shard import ShardRow, write_shard

SPEC = FakeCompressor().spec


def shard(numbers: list[int], codec: CodecName = "exact") -> bytes:
    rows = [
        ShardRow(n, f"{n:064x}", f"{n}.jpg", f"v:{n}", datetime(2026, 1, 1, tzinfo=UTC), 9, 9, "JPEG", n)
        for n in numbers
    ]
    tokens = np.stack([np.full((SPEC.k, SPEC.d), n, np.float32) for n in numbers])
    pooled = np.stack([np.full(SPEC.d, n, np.float32) for n in numbers])
    return write_shard(SPEC, "line-1", rows, tokens, pooled, codec)


@pytest.mark.parametrize("codec", ["exact", "int8"])
@pytest.mark.parametrize("gone", [{0}, {149}, {3, 64, 65, 127}, set(range(70)), set(range(1, 150))])
def test_what_is_left_is_byte_for_byte_what_was_never_there(gone: set[int], codec: CodecName) -> None:
    left = [n for n in range(150) if n not in gone]
    assert without_rows(shard(list(range(150)), codec), gone) == shard(left, codec)


def test_nothing_left_is_no_shard() -> None:
    assert without_rows(shard([4, 5]), {0, 1}) is None


def test_a_row_that_is_not_there_and_bytes_that_are_no_shard() -> None:
    with pytest.raises(IntegrityError, match="no row 2"):
        without_rows(shard([4, 5]), {0, 2})
    with pytest.raises(IntegrityError):
        without_rows(b"PAR1 or not", {0})

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.prefix_code import LARGEST, PrefixCode
from fwd2bot_core.tokens.quantise import BITS2, BITS3, BITS4

CODES = [BITS4.code, BITS3.code, BITS2.code]
TINY = PrefixCode((1, 1, 2))  # 0, -1, 1 and raw bits
integers = st.integers(-3, 3) | st.integers(-20, 20) | st.integers(-LARGEST, LARGEST)


@pytest.mark.parametrize("code", [*CODES, TINY])
def test_every_bit_pattern_is_a_word_and_no_word_begins_another(code: PrefixCode) -> None:
    assert sum(2.0 ** -len(word) for word in code.words) == 1
    ordered = sorted(code.words)
    assert not any(after.startswith(before) for before, after in pairwise(ordered))


def test_small_integers_have_short_words() -> None:
    assert TINY.words == {"0": 0, "10": -1, "110": 1, "111": None}
    for code in CODES:
        assert list(code.words.values())[:5] == [0, -1, 1, -2, 2]
        assert max(map(len, code.words)) <= 16


def test_the_bits_are_those_that_the_words_say() -> None:
    row = np.array([[1, 0, -1, 5, -LARGEST]])
    raw = "111" + f"{5:016b}" + "111" + f"{(1 << 16) - LARGEST:016b}"
    expected = "110" + "0" + "10" + raw
    assert TINY.bits(row).sum() == len(expected) == 44
    written = TINY.write(row, 7)
    assert "".join(f"{byte:08b}" for byte in written[0]) == expected + "0" * 12


@given(st.sampled_from([*CODES, TINY]), st.integers(0, 4), st.integers(0, 30), st.integers(0, 9), st.data())
def test_integers_come_back(code: PrefixCode, rows: int, count: int, spare: int, data: st.DataObject) -> None:
    table = data.draw(hnp.arrays(np.int64, (rows, count), elements=integers))
    size = int(-(-code.bits(table).sum(axis=1).max(initial=0) // 8)) + spare
    written = code.write(table, size)
    assert written.shape == (rows, size)
    for row, expected in zip(written, table, strict=True):
        assert code.read(row, count).tolist() == expected.tolist()


@given(st.sampled_from([*CODES, TINY]), hnp.arrays(np.uint8, st.integers(0, 20)), st.integers(0, 60))
def test_any_bytes_are_integers_or_refused(code: PrefixCode, data: np.ndarray[Any, Any], count: int) -> None:
    try:
        found = code.read(data, count)
    except IntegrityError:
        return
    assert len(found) == count
    assert (np.abs(found) <= LARGEST + 1).all()


def test_bits_that_end_too_early_or_too_late_are_refused() -> None:
    row = TINY.write(np.array([[1, -1, 0, 400]]), 4)[0]
    assert TINY.read(row, 4).tolist() == [1, -1, 0, 400]
    for wrong, count in ((row[:3], 4), (row, 3), (row | 1, 4), (np.zeros(0, np.uint8), 1)):
        with pytest.raises(IntegrityError, match="do not end where they should"):
            TINY.read(wrong, count)

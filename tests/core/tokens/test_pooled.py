from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.pooled import column_type, decode, encode, layout


def vectors(count: int = 50, d: int = 96) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    random = np.random.default_rng(5).standard_normal((count, d)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


@pytest.mark.parametrize("codec", NAMES)
def test_the_direction_comes_back(codec: CodecName) -> None:
    given = vectors()
    column = encode(given, codec)
    assert column.type == column_type(96, codec)
    found = decode(column, 96)
    assert (found.shape, found.dtype) == ((50, 96), np.float32)
    if codec == "exact":
        assert found.tobytes() == given.tobytes()
    assert np.arccos(np.clip((found * given).sum(axis=1), -1, 1)).max() < 0.01
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6


def test_a_slice_is_read_from_its_own_place() -> None:
    column = encode(vectors(), "bits4")
    assert decode(column.slice(7, 3), 96).tobytes() == decode(column, 96)[7:10].tobytes()


def test_a_vector_of_zeros_stays_one() -> None:
    assert decode(encode(np.zeros((2, 3), np.float32), "int8"), 3).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert decode(encode(np.zeros((0, 3), np.float32), "int8"), 3).shape == (0, 3)


def test_other_columns_are_refused() -> None:
    for column in (
        encode(vectors(1, 4), "int8"),
        pa.array([[1.0, 2, 3]]),
        pa.nulls(1, column_type(3, "int8")),
    ):
        with pytest.raises(IntegrityError, match="vectors of 3 numbers"):
            decode(column, 3)


def test_numpy_alone_reads_it() -> None:
    given, row = vectors(1), encode(vectors(1), "bits4")[0].as_py()
    integers = np.frombuffer(row, "int8")
    assert (integers / np.linalg.norm(integers)) @ given[0] > 0.9999


def test_the_words_say_which_it_is() -> None:
    assert "float32" in layout("exact")
    assert "int8" in layout("bits2")

"""Arbitrary and mutated bytes: a picture or a reason, never another exception."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fwd2bot_core.compressor.decode import Decoded, DecodeLimits, decode
from fwd2bot_core.errors import ImageRejected, RejectReason
from tests.core.compressor.pictures import valid_files

LIMITS = DecodeLimits(max_pixels=1_000_000)
VALID = valid_files()
MAGIC = sorted({data[:12] for data in VALID.values()})
thorough = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
for_each_file = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(data: bytes) -> Decoded | RejectReason:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = decode(data, LIMITS, target=(8, 8))
        except ImageRejected as error:
            return error.reason
        finally:
            assert not caught, "Pillow's warnings are silenced"
    assert found.image.mode == "RGB"
    assert 0 < found.width * found.height <= LIMITS.max_pixels
    assert len(found.image.tobytes()) == 3 * found.image.width * found.image.height
    return found


@given(st.binary(max_size=400))
@thorough
def test_arbitrary_bytes(data: bytes) -> None:
    assert outcome(data) is not RejectReason.INTERNAL


@given(st.sampled_from(MAGIC), st.binary(max_size=400))
@thorough
def test_arbitrary_bytes_behind_a_known_beginning(magic: bytes, data: bytes) -> None:
    assert outcome(magic + data) is not RejectReason.INTERNAL


edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "drop", "insert"]), st.binary(max_size=4)
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("name", VALID)
@given(edits, st.floats(0, 1))
@for_each_file
def test_mutated_files(name: str, changes: list[tuple[float, str, bytes]], keep: float) -> None:
    data = bytearray(VALID[name])
    for place, what, value in changes:
        at = int(place * len(data))
        end = at if what == "insert" else at + len(value)
        data[at:end] = b"" if what == "drop" else value
    outcome(bytes(data[: int(len(data) * (1 - keep**4))]))  # mostly whole, sometimes cut short

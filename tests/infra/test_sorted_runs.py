from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sorted_runs import sorted_records


@given(st.lists(st.binary(min_size=3, max_size=3)), st.integers(1, 7))
def test_records_come_back_sorted_and_complete(records: list[bytes], at_once: int) -> None:
    assert list(sorted_records(iter(records), 3, at_once=at_once)) == sorted(records)


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 5000])
def test_runs_longer_than_one_reading(count: int) -> None:
    records = [number.to_bytes(4, "big") for number in range(count)]
    random.Random(1).shuffle(records)
    assert list(sorted_records(records, 4, at_once=1000)) == sorted(records)

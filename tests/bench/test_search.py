"""The benches of search start, measure and write what they say; the figures themselves are no test."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tests.bench import corpus, readback, search, search_quality

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def few_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "REAL", 8)


def test_search_is_measured_four_ways(tmp_path: Path) -> None:
    words = {"images": 1000, "queries": 8, "rounds": 1, "out": tmp_path}
    assert search.main(**words, most_times=1e9) == 0
    (row,) = json.loads((tmp_path / "search.json").read_text())["rows"]
    assert row["images"] == 1000
    assert row["recall_at_10"] >= 0.95
    assert all(row[f"{way}_ms"] > 0 for way in ("numpy", "pyarrow", "exact", "index"))


def test_reading_back_is_measured_and_what_is_read_is_checked(tmp_path: Path) -> None:
    words = {"images": 1000, "lookups": 5, "rounds": 1, "out": tmp_path}
    assert readback.main(**words, goal=1e9, most_ms=1e9) == 0
    (row,) = json.loads((tmp_path / "readback.json").read_text())["rows"]
    assert row["lookups"] == 5


def test_quality_is_measured_with_and_without_a_second_look(tmp_path: Path) -> None:
    assert search_quality.main(trays=12, rerank=(0, 10), out=tmp_path) in (0, 1)
    rows = json.loads((tmp_path / "search_quality.json").read_text())["rows"]
    assert [row["rerank"] for row in rows] == [0, 10]
    assert all(0 < row["ndcg_at_10"] <= 1 for row in rows)


def test_gains_are_discounted_by_place() -> None:
    right = np.array([[True, False, False], [False, True, True]])
    ranked = np.array([[1, 0], [1, 2]])
    with mock.patch.object(search_quality, "AT", 2):
        found = search_quality._figures(ranked, right)
    assert found == {"ndcg_at_10": pytest.approx((1 / np.log2(3) + 1) / 2, abs=1e-4), "first": 0.5}

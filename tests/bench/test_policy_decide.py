"""The bench fills its ledgers, decides, and says what it found; the figures themselves are no test."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import policy_decide


def test_it_measures_two_small_ledgers(tmp_path: Path) -> None:
    assert policy_decide.main(sizes=[100, 2000], goal=60, out=tmp_path) == 0
    rows = json.loads((tmp_path / "policy_decide.json").read_text())["rows"]
    assert [row["photos"] for row in rows] == [100, 2000]
    assert rows[1]["groups"] > 8
    assert 400 < rows[1]["may_go"] < 1200


def test_a_missed_goal_fails_the_command(tmp_path: Path) -> None:
    assert policy_decide.main(sizes=[100], goal=0, out=tmp_path) == 1

"""Clocks that agree and that do not; disks with room and without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra import doctor_limits
from infra.doctor_limits import clock_problem, disk_problem

NOW = datetime(2026, 11, 25, 22, tzinfo=UTC)


@pytest.mark.parametrize("off", [-61, -60, 0, 60, 63])
def test_a_minute_is_no_difference_for_an_answer_that_took_three_seconds(off: int) -> None:
    assert clock_problem("it", NOW + timedelta(seconds=off), NOW, NOW + timedelta(seconds=3)) is None


@pytest.mark.parametrize(("off", "said"), [(-120, "119 s behind"), (900, "897 s ahead of")])
def test_more_is_told_with_its_direction(off: int, said: str) -> None:
    problem = clock_problem("it", NOW + timedelta(seconds=off), NOW, NOW + timedelta(seconds=3))
    assert problem is not None
    assert f"the clock of it is {said} ours" in problem
    assert "time server" in problem


def test_a_disk_is_full_below_what_must_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_limits, "ROOM", 1)
    assert disk_problem("it", tmp_path) is None
    monkeypatch.setattr(doctor_limits, "ROOM", 2**60)
    problem = disk_problem("it", tmp_path)
    assert problem is not None
    assert f"make room at {tmp_path}" in problem

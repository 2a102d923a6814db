"""The benches start, measure and write what they say; the figures themselves are no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_night_speed_measures_a_small_night(tmp_path: Path) -> None:
    words = ["--images", "60", "--rounds", "1", "--workers", "1", "--bundle", "fake", "--goal", "0", "--out"]
    subprocess.run(
        [sys.executable, "-m", "tests.bench.night_speed", *words, tmp_path], check=True, timeout=120
    )
    said = json.loads((tmp_path / "night_speed.json").read_text())
    assert [one["workers"] for one in said["rounds"]] == [1]
    assert said["rounds"][0]["night"] > 0
    assert said["median_ratio"]["1"] > 0
    assert (tmp_path / "night_speed.svg").read_bytes().startswith(b"<?xml")


def test_listing_measures_two_small_archives(tmp_path: Path) -> None:
    words = ["--sizes", "10", "6000", "--out"]
    subprocess.run([sys.executable, "-m", "tests.bench.listing", *words, tmp_path], check=True, timeout=120)
    said = json.loads((tmp_path / "listing.json").read_text())
    assert [one["entries"] for one in said["sizes"]] == [10, 6000]

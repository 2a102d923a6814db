"""The benches start, measure and write what they say; the figures themselves are no test."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.bench import audit_append, commit, execution, first_word, memory, pass1, scheduler, shapes
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.long


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


def test_discovery_measures_two_small_archives(tmp_path: Path) -> None:
    words = ["--keys", "2400", "--rounds", "1", "--goal", "1000", "--out"]
    subprocess.run([sys.executable, "-m", "tests.bench.discovery", *words, tmp_path], check=True, timeout=120)
    said = json.loads((tmp_path / "discovery.json").read_text())
    assert [one["keys"] for one in said["sizes"]] == [600, 2400]
    assert all(one["ratio"] > 0 < one["recent_days_ratio"] for one in said["sizes"])


def test_audit_verify_measures_two_small_logs(tmp_path: Path) -> None:
    words = ["--database", "sqlite", "--events", "300", "600", "--rounds", "1", "--goal", "0", "--out"]
    subprocess.run(
        [sys.executable, "-m", "tests.bench.audit_verify", *words, tmp_path], check=True, timeout=120
    )
    said = json.loads((tmp_path / "audit_verify.json").read_text())
    assert [row["events"] for row in said["rows"]] == [300, 600]
    assert all(row["times_hashing"] > 0 for row in said["rows"])


def test_audit_append_measures_both_ways_and_keeps_its_goal(tmp_path: Path) -> None:
    words: dict[str, Any] = {"database": ("sqlite",), "batch": (1, 1000), "rounds": 1, "out": tmp_path}
    with mock.patch.object(audit_append, "MOST_TRANSACTIONS", 1):
        assert audit_append.main(**words, goal=1e9) == 0
        assert audit_append.main(**words, goal=0) == 1
    said = json.loads((tmp_path / "audit_append.json").read_text())
    assert [(row["database"], row["batch"]) for row in said["rows"]] == [("sqlite", 1), ("sqlite", 1000)]
    assert all(row["append_events_a_second"] > 0 and row["ratio"] > 0 for row in said["rows"])


def test_pass1_measures_a_tiny_model_three_ways(tmp_path: Path) -> None:
    assert pass1.main(bundle="", shape=("tiny",), batch=(1, 2), rounds=2, out=tmp_path) == 0
    said = json.loads((tmp_path / "pass1.json").read_text())
    assert [(row["batch"], row["k"]) for row in said["rows"]] == [(1, 2), (2, 2)]
    assert all(row["plain_ms"] > 0 and row["ours_ms"] > 0 for row in said["rows"])
    assert (tmp_path / "pass1.svg").read_bytes().startswith(b"<?xml")


def test_a_model_of_32_000_words_that_misses_the_goal_fails_the_command(tmp_path: Path) -> None:
    wordy = replace(shapes.SHAPES["tiny"], vocabulary=32_000)
    with mock.patch.dict(shapes.SHAPES, wordy=wordy):
        words = {"bundle": "", "shape": ("wordy",), "batch": (1,), "rounds": 1, "out": tmp_path}
        assert pass1.main(**words, goal=1e9) == 1
        assert pass1.main(**words, goal=0) == 0


def test_pass1_refuses_states_that_are_not_the_plain_ones() -> None:
    found = pass1.ways(shapes.net(shapes.SHAPES["tiny"]), 1, 2)
    with pytest.raises(AssertionError, match="states differ"):
        pass1.measure(found | {"ours": lambda: found["ours"]().neg()}, 1)


def test_first_word_reads_tokens_of_the_shard_that_it_wrote(tmp_path: Path) -> None:
    assert first_word.main(bundle="tiny", batch=(1, 2), rounds=1, images=4, goal=0, out=tmp_path) == 0
    said = json.loads((tmp_path / "first_word.json").read_text())
    assert (said["k"], said["visual_tokens"], said["fewer"]) == (2, 16, 8.0)
    assert all(row["reading_ms"] > 0 and row["image_ms"] > 0 for row in said["rows"])
    assert (tmp_path / "first_word.svg").read_bytes().startswith(b"<?xml")


def test_memory_counts_a_process_of_its_own(tmp_path: Path) -> None:
    assert memory.main(model="tiny", compress=(), train=(2,), out=tmp_path) == 0
    said = json.loads((tmp_path / "memory.json").read_text())
    assert [(row["use"], row["batch"]) for row in said["rows"]] == [("train", 2)]
    assert all(row["peak_mb"] >= row["loaded_mb"] > 100 for row in said["rows"])
    assert (tmp_path / "memory.svg").read_bytes().startswith(b"<?xml")


def test_commit_measures_a_small_night(tmp_path: Path) -> None:
    assert commit.main(database=("sqlite",), images=2_000, out=tmp_path) in (0, 1)  # by the machine's speed
    (row,) = json.loads((tmp_path / "commit.json").read_text())["rows"]
    assert row["images"] == 2_000
    assert all(row[f"{name}_a_second"] > 0 for name in ("registered", "planned", "committed"))


def test_the_scheduler_drives_workers_that_sleep(tmp_path: Path) -> None:
    words: dict[str, Any] = {"workers": 4, "batches": 24, "units": 2, "sleep": 0.05, "out": tmp_path}
    assert scheduler.main(**words, goal=1e9, grown=1e9) == 0
    said = json.loads((tmp_path / "scheduler.json").read_text())
    assert said["wall_seconds"] >= said["ideal_seconds"] == pytest.approx(0.3)
    assert said["batches_a_processor_second"] > 0


def test_execution_destroys_two_small_lists(tmp_path: Path, s3_server: S3Server) -> None:
    row = execution.measure(tmp_path, s3_server, 2, 1)
    assert row["requests"] == 10
    assert row["ratio"] > 0
    assert [len(seconds) for seconds in row["seconds"].values()] == [1, 1]

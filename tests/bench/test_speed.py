"""Every rival writes what it should, a wrong one is found out, and the table's ratios are those of one round."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.bench import speed, speed_ways
from tests.bench.rivals import running
from tests.bench.rivals.running import RivalFailed
from tests.bench.speed_figures import Run, figures
from tests.bench.speed_ways import Corpus, of_rival

FEW = 40


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return speed_ways.lay_out("fake", FEW, batch_size=64, micro_batch=16)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("rival", list(running.SETTINGS))
def test_a_rival_writes_each_photo_once(corpus: Corpus, rival: str) -> None:
    if running.installed(rival) is None:
        pytest.skip(f"{rival} is not installed: pip install 'fwd2bot[bench]'")
    if rival == "Ray Data" and "EVERY_RIVAL" not in os.environ:
        pytest.skip("Ray takes a quarter of a minute to start; with EVERY_RIVAL=1 it is run, too")
    (way,) = of_rival(rival, corpus, workers=1, tune=False)  # the fake has no plain forward
    run = way.run(0)
    assert run.images_per_second > 0
    assert run.with_start is not None
    assert run.with_start > FEW / run.images_per_second


def test_the_command_writes_a_table_a_plot_and_a_page(tmp_path: Path) -> None:
    """Bound and pipeline have a test of their own in test_smoke."""
    with (
        mock.patch.object(speed_ways, "_bound", return_value=(200.0, None)),
        mock.patch.object(speed_ways, "_night", return_value=(100.0, 9.0)),
        mock.patch.object(speed_ways, "_rival", side_effect=[(80.0, 5.0), RivalFailed("Daft failed:\nlong")]),
        mock.patch.object(running, "installed", side_effect=lambda name: None if "Ray" in name else "1.0"),
    ):
        said = speed.main(images=FEW, workers=1, rounds=1, bundle="fake", out=tmp_path)
    assert said == 1  # half of the bound is too little
    result = json.loads((tmp_path / "speed.json").read_text())
    assert {one["name"]: one["ratio"] for one in result["figures"]} == {
        "pipeline / bound of the same processes": 0.5,
        "pipeline / best rival, our forward": 1.25,
    }
    assert result["left_out"] == [
        "Ray Data is not installed (pip install 'fwd2bot[bench]')",
        "Daft failed:",
    ]
    assert (
        "| 1 | DataLoader | our forward | loaders=0 | 1 | 80.0 | 5.0 |" in (tmp_path / "speed.md").read_text()
    )
    assert (tmp_path / "speed.svg").read_bytes().startswith(b"<?xml")


def test_ratios_are_taken_within_a_round_against_that_rounds_best_rival() -> None:
    def run(way: str, turn: int, rate: float, workers: int = 2, forward: str = "ours") -> Run:
        return Run(way, forward, workers, "", turn, rate, None, 0.0)

    quiet = [run("bound", 0, 100), run("Fwd2Bot", 0, 98), run("Daft", 0, 49), run("DataLoader", 0, 70)]
    busy = [run("bound", 1, 10), run("Fwd2Bot", 1, 9), run("Daft", 1, 9), run("DataLoader", 1, 5)]
    alone = [run("Fwd2Bot", 0, 49, workers=1), run("Daft", 0, 35, forward="plain")]
    goals = {"bound": 0.95, "ours": 1.0, "plain": 1.2, "workers": 1.8}
    found = {one.name: one for one in figures(quiet + busy + alone, 2, goals)}
    assert found["pipeline / bound of the same processes"].each == (0.98, 0.9)
    assert found["pipeline / bound of the same processes"].ratio == pytest.approx(0.94)
    assert not found["pipeline / bound of the same processes"].met
    assert found["pipeline / best rival, our forward"].each == (1.4, 1.0)
    assert found["pipeline / best rival, plain transformers forward"].each == (2.8,)
    assert found["pipeline, 2 workers / 1"].each == (2.0,)


def test_a_rival_that_loses_doubles_or_changes_a_photo_is_found_out(tmp_path: Path) -> None:
    def written(keys: list[str], vector: list[float]) -> list[Path]:
        import pyarrow as pa

        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        pq.write_table(pa.table({"key": keys, "pooled": [vector] * len(keys)}), file)
        return [file]

    known = {"a": np.array([0.6, 0.8], np.float32)}
    running.check(written(["a", "b"], [0.6, 0.8]), ["a", "b"], known)
    for keys in (["a"], ["a", "b", "b"], ["a", "c"]):
        with pytest.raises(RivalFailed, match="of each one"):
            running.check(written(keys, [0.6, 0.8]), ["a", "b"], known)
    with pytest.raises(RivalFailed, match="not run the same model"):
        running.check(written(["a", "b"], [0.8, -0.6]), ["a", "b"], known)

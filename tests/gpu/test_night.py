"""The nights of ``python -m tests.gpu.night``: on the processor in small, and on a GPU where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.gpu import night, nights
from tests.gpu.nights import Plan, Way
from tests.gpu.usage import Usage

WAYS = (
    Way(name="inline", executor="inline", fetch_threads=2),
    Way(name="half", executor="inline", share=0.5),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    nights.lay_out(folder / "photos", 8, processes=1)
    return folder


@pytest.mark.parametrize("name", ["nano", "tiny"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="the other test of this file does it on the GPU")
def test_a_night_in_figures(work: Path, name: str) -> None:
    whole, half = night.measured(name, Plan(bundle=name, images=8, micro_batch=4, batch_size=8), work, WAYS)
    assert whole["images"] == 8
    assert half["images"] == (4 if name == "nano" else 1)  # bfloat16 takes a processor longer
    assert whole["per_second"] > whole["per_second_whole"] > 0
    assert 0 <= whole["waiting"] < 1
    assert whole["stages"]["forward"] > 0
    assert half["apart"] == 0
    assert whole["agrees"]
    if Usage().told()["gpu_busy"] is None:
        assert whole["gpu_busy"] is None


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
def test_a_night_on_one_gpu(tmp_path: Path) -> None:
    """The GPU is really used, agrees with the processor, and is faster than it."""
    pytest.importorskip("dask_cuda", reason="pip install 'fwd2bot[gpu]'")
    assert night.main(quick=True, out=tmp_path) == 0
    found = json.loads((tmp_path / "gpu_night.json").read_text())["nights"]
    cluster, inline, processor = found
    assert (cluster["way"], processor["way"]) == ("local-cuda", "inline, processor")
    assert min(cluster["gpu_memory_mib"], inline["gpu_memory_mib"]) > 300
    assert (
        inline["stages"]["forward"] / inline["images"] < processor["stages"]["forward"] / processor["images"]
    )

"""On a CUDA device: all ways of pass 1 give the plain forward's states at the size of a real model.

What these functions do at a tiny shape on the CPU is tested in ``test_smoke``.
"""

from __future__ import annotations

import pytest
import torch

from tests.bench import shapes
from tests.gpu import table

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]


def test_a_model_of_seven_billion_parameters() -> None:
    plan = table.Plan(shape=shapes.SHAPES["llava-1.5-7b"], batches=(1, 8), train=(1,), rounds=3)
    found = table.everything(plan)
    table.show(found, torch.cuda.get_device_name())
    must = [row for row in found["pass1"] if row["way"] in {"ours", "ours, math", "ours, efficient"}]
    assert len(must) == 6
    assert not [row for row in [*must, *found["pairs"], *found["first_word"]] if "failed" in row]
    assert all(row["peak_mb"] > 13_000 for row in found["compress"])

"""On a CUDA device: a captured step of the nano bundle's training is the step itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.nano import data, design, easy_vqa, stages, trays
from fwd2bot_core.compressor.nano.faster import made_faster
from fwd2bot_core.compressor.nano.lessons import Bench
from fwd2bot_core.compressor.training.course import Graphed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]


@pytest.fixture(scope="module")
def bench() -> Bench:
    rng = np.random.default_rng(0)
    cells = np.array([trays.draw_facts(rng).cells for _ in range(6)])
    pixels = rng.integers(0, 256, (6, 3, design.PIXELS, design.PIXELS), dtype=np.uint8)
    tokenizer = design.tokenizer()
    model = design.model(tokenizer.get_vocab_size(), 0)
    net = DoubleForward(model, design.METHOD, script(tokenizer, design.METHOD))
    easy = easy_vqa.Split(pixels[:3], [[("what shape does the image contain?", "circle")]] * 3)
    pool = data.Pool(pixels, cells)
    return Bench(1, data.Words(tokenizer), pool, easy, net.requires_grad_(False).to("cuda"))


@pytest.mark.parametrize("stage", [stages.tower, stages.base, stages.adapters, stages.refining])
def test_a_captured_step_has_the_same_losses_and_gradients(bench, stage) -> None:
    course = stage(bench, 8)
    for p in course.learn.values():
        p.requires_grad_(True)
    graphed = Graphed(course, steps=12, processes=2)
    with made_faster(bench.net):
        for step in range(12):
            losses = {name: float(value) for name, value in graphed(step).items()}
            gradients = [p.grad.clone() for p in course.learn.values() if p.grad is not None]
            for p in course.learn.values():
                p.grad = None
            plain = course.terms(step)
            assert losses == pytest.approx({name: float(v) for name, v in plain.items()}, rel=5e-2, abs=1e-3)
            torch.stack(list(plain.values())).sum().backward()
            wanted = [p.grad for p in course.learn.values() if p.grad is not None]
            apart = sum((a - b).square().sum() for a, b in zip(gradients, wanted, strict=True))
            assert apart < 0.01 * sum(b.square().sum() for b in wanted)
            for p in course.learn.values():
                p.grad = None
    bench.net.requires_grad_(False)

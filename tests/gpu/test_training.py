"""On a CUDA device: a captured step of the nano bundle's training is the step itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.nano import data, design, easy_vqa, stages, trays
from fwd2bot_core.compressor.nano.faster import made_faster
from fwd2bot_core.compressor.nano.lessons import Bench
from fwd2bot_core.compressor.training.course import Course, Graphed

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


def plain_step(course: Course, step: int) -> tuple[dict[str, float], list[torch.Tensor]]:
    """Losses and gradients of a step that runs operation by operation. Nothing of its graph outlives it: a capture
    would find the accumulators of gradients on another stream."""
    losses = course.terms(step)
    torch.stack(list(losses.values())).sum().backward()
    return {name: value.item() for name, value in losses.items()}, gradients(course)


def gradients(course: Course) -> list[torch.Tensor]:
    """What a step left in the parameters, taken out of them."""
    found = [p.grad.clone() for p in course.learn.values() if p.grad is not None]
    for p in course.learn.values():
        p.grad = None
    return found


@pytest.mark.filterwarnings("default::DeprecationWarning")  # forking beside CUDA's threads
@pytest.mark.parametrize("stage", [stages.tower, stages.base, stages.adapters, stages.refining])
def test_a_captured_step_has_the_same_losses_and_gradients(bench, stage) -> None:
    course = stage(bench, 8)
    for p in course.learn.values():
        p.requires_grad_(True)
    graphed = Graphed(course, steps=12, processes=2)
    with made_faster(bench.net):
        for step in range(12):
            losses = {name: value.item() for name, value in graphed(step).items()}
            found = gradients(course)
            expected, wanted = plain_step(course, step)
            assert losses == pytest.approx(expected, rel=5e-2, abs=1e-3)
            apart = sum((a - b).square().sum() for a, b in zip(found, wanted, strict=True))
            assert apart < 0.01 * sum(b.square().sum() for b in wanted)
    bench.net.requires_grad_(False)

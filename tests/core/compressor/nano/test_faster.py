"""The faster network gives the same numbers and gradients, and is the old one afterwards."""

from __future__ import annotations

import pytest
import torch

from fwd2bot_core.compressor.adapters import LoraLinear
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano.faster import made_faster
from tests.core.compressor import models


def passes(net):
    """Both passes over two pictures, with the gradients of what is learned."""
    pixels = torch.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32).remainder(251).to(torch.uint8)
    ids = torch.tensor([models.words().encode("what is in b2?").ids] * 2)
    tokens = net.summarise(net.visual(pixels))
    states = net.lvlm.hidden(Stage.ANSWER, net.question(tokens, ids))
    learned = net.own_parameters()
    return [tokens, states, *torch.autograd.grad(states.square().mean(), list(learned.values()))]


def test_it_computes_the_same():
    net = models.net()
    plain = passes(net)
    with made_faster(net):
        fast = passes(net)
    for one, other in zip(plain, fast, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)


def test_it_really_folds_and_undoes_it_even_after_an_error():
    net = models.net()
    linear = next(module for module in net.modules() if isinstance(module, LoraLinear))
    config = net.lvlm.base.config.get_text_config()
    before = config._attn_implementation

    def fail() -> None:
        with made_faster(net):
            assert "forward" in vars(linear)
            assert config._attn_implementation == "eager"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert "forward" not in vars(linear)
    assert config._attn_implementation == before

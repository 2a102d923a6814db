from __future__ import annotations

import pytest
import torch
from torch import nn

from fwd2bot_core.compressor import adapters
from fwd2bot_core.compressor.adapters import LoraLinear
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.lvlm import Stage
from tests.core.compressor import models


def embeddings(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(seed))


def both_passes(net: DoubleForward) -> torch.Tensor:
    """A loss through the bottleneck: pass 1, then pass 2 over its states, as training has it."""
    pixels = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    tokens = net.summarise(net.visual(pixels))
    ids = torch.tensor([[7, 8, 9, 10]] * 2)
    logits = net.lvlm.logits(net.lvlm.hidden(Stage.ANSWER, net.question(tokens, ids)))
    return logits.log_softmax(-1)[..., 3].mean() + pool(tokens)[0] @ pool(tokens)[1]


def gradients(net: DoubleForward) -> dict[str, torch.Tensor]:
    net.zero_grad()
    both_passes(net).backward()
    return {name: p.grad.clone() for name, p in net.own_parameters().items() if p.grad is not None}


def test_fresh_pairs_change_nothing():
    language_model = models.llava().model.language_model
    view = adapters.view(language_model, rank=2, alpha=4.0)
    with torch.no_grad():
        expected = language_model(inputs_embeds=embeddings()).last_hidden_state
        assert torch.equal(view(inputs_embeds=embeddings()).last_hidden_state, expected)


def test_every_linear_of_the_language_model_has_a_pair():
    language_model = models.llava().model.language_model
    linears = sum(isinstance(m, nn.Linear) for m in language_model.modules())
    view = adapters.view(language_model, rank=2, alpha=4.0)
    assert linears == 14  # seven in each of two layers
    assert sum(isinstance(m, LoraLinear) for m in view.modules()) == linears
    assert len(adapters.pairs(view)) == 2 * linears


def test_base_weights_are_shared_and_not_copied():
    net = models.net()
    base = {p.data_ptr() for p in net.lvlm.base.model.language_model.parameters()}
    for view in net.lvlm.views.values():
        own = {p.data_ptr() for p in adapters.pairs(view).values()}
        assert {p.data_ptr() for p in view.parameters()} - own == base
    with torch.no_grad():
        before = net.lvlm.hidden(Stage.ANSWER, embeddings())
        net.lvlm.base.model.language_model.layers[0].mlp.up_proj.weight.mul_(1.5)
        assert not torch.equal(net.lvlm.hidden(Stage.ANSWER, embeddings()), before)


def test_sharing_survives_a_change_of_dtype():
    net = models.net().to(torch.float64)
    base = net.lvlm.base.model.language_model.layers[0].mlp.up_proj.weight
    for view in net.lvlm.views.values():
        assert view.layers[0].mlp.up_proj.linear.weight is base
        assert view.layers[0].mlp.up_proj.lora_a.dtype == torch.float64


@pytest.mark.parametrize(("moved", "still"), [(Stage.ANSWER, Stage.COMPRESS), (Stage.COMPRESS, Stage.ANSWER)])
def test_a_stage_does_not_feel_the_other_ones_pairs(moved, still):
    net = models.net()
    with torch.no_grad():
        stages = (moved, still, Stage.BASE)
        before = {stage: net.lvlm.hidden(stage, embeddings()) for stage in stages}
        for parameter in adapters.pairs(net.lvlm.views[moved.value]).values():
            parameter.add_(1)
        after = {stage: net.lvlm.hidden(stage, embeddings()) for stage in stages}
    assert not torch.equal(before[moved], after[moved])
    assert torch.equal(before[still], after[still])
    assert torch.equal(before[Stage.BASE], after[Stage.BASE])


def test_both_stages_and_the_summary_tokens_get_gradients_in_one_graph():
    net = models.net()
    net.requires_grad_(False)
    for parameter in net.own_parameters().values():
        parameter.requires_grad_(True)
    found = gradients(net)
    assert set(found) == set(net.own_parameters())
    assert all(g.abs().sum() > 0 for g in found.values())
    assert all(p.grad is None for p in net.lvlm.base.parameters())


def test_gradients_are_the_same_under_checkpointing():
    plain = models.net().train()
    checkpointed = models.net().train()
    reruns = []
    for stage, view in checkpointed.lvlm.views.items():
        view.activation_checkpointing_enable()
        view.layers[0].mlp.register_forward_pre_hook(lambda *_, stage=stage: reruns.append(stage))
    expected, found = gradients(plain), gradients(checkpointed)
    assert sorted(reruns) == ["answer", "answer", "compress", "compress"]  # once forward, once again backward
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=0, msg=name)


def test_merging_keeps_the_function_and_leaves_the_base_alone():
    net = models.net()
    weight = net.lvlm.base.model.language_model.layers[0].mlp.up_proj.weight
    kept = weight.clone()
    with torch.no_grad():
        before = net.lvlm.hidden(Stage.COMPRESS, embeddings())
        net.merge()
        after = net.lvlm.hidden(Stage.COMPRESS, embeddings())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(m, LoraLinear) for m in net.modules())
    assert torch.equal(weight, kept)

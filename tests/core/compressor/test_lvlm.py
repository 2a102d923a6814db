from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fwd2bot_core.compressor.lvlm import Lvlm, Stage
from fwd2bot_core.errors import CompressorError
from tests.core.compressor import models


def test_a_model_without_eyes_is_refused_by_name():
    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    with pytest.raises(CompressorError, match=r"LlamaForCausalLM is no image-text-to-text model.*: use"):
        Lvlm(LlamaForCausalLM(config), rank=1, alpha=1.0)


def test_the_base_stage_is_the_plain_model():
    """Pixels and ids through our four functions give the logits that transformers gives itself."""
    model = models.llava().eval()
    lvlm = Lvlm(model, rank=2, alpha=2.0)
    pixels = torch.randn(2, 3, 32, 32)
    ids = torch.tensor([[1, *[4] * 16, 9, 10, 11]] * 2)
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits
        visual = lvlm.visual(pixels)
        sequence = torch.cat([lvlm.embed(ids[:, :1]), visual, lvlm.embed(ids[:, 17:])], dim=1)
        found = lvlm.logits(lvlm.hidden(Stage.BASE, sequence))
    assert visual.shape == (2, 16, 16)
    torch.testing.assert_close(found, expected)


def test_what_ends_an_answer_may_be_one_id_or_several():
    model = models.llava()
    lvlm = Lvlm(model, rank=1, alpha=1.0)
    assert (lvlm.bos, lvlm.eos, lvlm.width) == (1, frozenset({2}), 16)
    model.config.text_config.eos_token_id = [2, 5]
    assert lvlm.eos == {2, 5}
    model.config.text_config.eos_token_id = None
    assert lvlm.eos == frozenset()

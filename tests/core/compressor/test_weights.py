from __future__ import annotations

import torch

from fwd2bot_core.compressor import weights
from tests.core.compressor import models


def test_another_dtype_rounds_the_weights_and_no_more():
    """Rotary frequencies in bfloat16 would put far positions in the wrong place."""
    plain, cast = models.llava(), weights.cast(models.llava(), torch.bfloat16)
    expected = plain.model.language_model.rotary_emb.inv_freq
    assert torch.equal(cast.model.language_model.rotary_emb.inv_freq, expected)
    assert not torch.equal(expected, expected.bfloat16().float())
    assert {p.dtype for p in cast.parameters()} == {torch.bfloat16}


def test_a_dtype_is_cast_without_parting_what_is_tied():
    model = models.llava()
    model.lm_head.weight = model.get_input_embeddings().weight
    weights.cast(model, torch.bfloat16)
    assert model.lm_head.weight is model.get_input_embeddings().weight

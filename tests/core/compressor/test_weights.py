from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from fwd2bot_core.compressor import bundle, weights
from tests.core.compressor import models


def test_another_dtype_rounds_the_weights_and_no_more():
    """Rotary frequencies in bfloat16 would put far positions in the wrong place."""
    plain, cast = models.llava(), weights.cast(models.llava(), torch.bfloat16)
    expected = plain.model.language_model.rotary_emb.inv_freq
    assert torch.equal(cast.model.language_model.rotary_emb.inv_freq, expected)
    assert not torch.equal(expected, expected.bfloat16().float())
    assert {p.dtype for p in cast.parameters()} == {torch.bfloat16}


def test_a_bundle_that_is_saved_again_keeps_its_fingerprint(tmp_path):
    method = replace(models.METHOD, merged=False)
    first = bundle.save_bundle(tmp_path / "first", models.net(method), models.words(), method)
    loaded = bundle.load_bundle(tmp_path / "first")
    assert bundle.save_bundle(tmp_path / "second", loaded.net, loaded.tokenizer, loaded.method) == first


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("part", [None, "text_config"])
def test_how_attention_is_computed_is_not_for_a_bundle_to_say(tmp_path, name, part):
    """It may name a repository with kernels, which would be fetched."""
    method = replace(models.METHOD, merged=False)
    bundle.save_bundle(tmp_path, models.net(method), models.words(), method)
    file = tmp_path / bundle.MODEL
    said = json.loads(file.read_text())
    (said[part] if part else said)[name] = "someone/kernels"
    file.write_text(json.dumps(said))
    bundle.seal(tmp_path, bundle.manifest.read(tmp_path).files)
    config = bundle.load_bundle(tmp_path).net.lvlm.base.config
    assert (config._attn_implementation, config.text_config._attn_implementation) == ("sdpa", "sdpa")


def test_a_dtype_is_cast_without_parting_what_is_tied():
    model = models.llava()
    model.lm_head.weight = model.get_input_embeddings().weight
    weights.cast(model, torch.bfloat16)
    assert model.lm_head.weight is model.get_input_embeddings().weight

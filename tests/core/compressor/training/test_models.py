"""From a folder that transformers saved to a trained bundle, for a family that needs more than its tokens."""

from __future__ import annotations

import re

import pytest
import safetensors.torch

from fwd2bot_core.compressor import bundle
from fwd2bot_core.compressor.families.opening import open_model
from fwd2bot_core.compressor.training.train import train
from tests.core.compressor.families import tiny
from tests.core.compressor.training import worlds
from tests.core.compressor.training.test_train import Told, configured

PROJECTOR = re.compile(r"\b(multi_modal_projector|connector|merger|deepstack_merger_list)\b")


@pytest.mark.parametrize("family", ["qwen3_vl"])
def test_a_model_that_is_no_compressor_yet_becomes_one(tmp_path, family):
    worlds.write(tmp_path, 8)
    tiny.save(tmp_path / "model", family)
    run = configured(
        tmp_path,
        tmp_path / "run",
        {"steps": 2, "train": ["adapters", "projector"], "gradient_checkpointing": True},
        base="model",
        method={"k": 4, "nested_k": [2], "rank": 2, "max_new_tokens": 40},
    )
    made = train(run, Told())
    loaded = bundle.load_bundle(made.bundle)
    assert (loaded.spec.k, loaded.method.trained_k, loaded.method.alpha) == (4, (2,), 4.0)
    assert made.figures["training"]["base_fingerprint"] == ""
    assert made.figures["training"]["learned"] == ["adapters", "projector"]
    assert set(made.figures["accuracy"]["all"]["from_tokens"]) == {"4", "2"}
    before = open_model(tmp_path / "model").model.state_dict()
    after = safetensors.torch.load_file(made.bundle / bundle.WEIGHTS)
    changed = {name for name in after if not after[name].equal(before[name])}
    assert changed
    assert all(PROJECTOR.search(name) for name in changed)

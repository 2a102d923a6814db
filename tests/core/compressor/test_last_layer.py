"""The last layer at k positions gives what the whole layer gives there, whatever the decoder and its masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    DynamicCache,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from fwd2bot_core.compressor.last_layer import only_last

K, LENGTH = 3, 14
SMALL: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
DECODERS = {
    "llama": LlamaConfig(**SMALL),
    "llama, eager": LlamaConfig(**SMALL, attn_implementation="eager"),
    "qwen2": Qwen2Config(**SMALL),
    "qwen3": Qwen3Config(**SMALL),
    "mistral, window of 4": MistralConfig(**SMALL, sliding_window=4),
    "gemma3, window of 4": Gemma3TextConfig(**SMALL, sliding_window=4),
}


def decoder(config: PreTrainedConfig) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = AutoModel.from_config(config).eval()
    return model


def sequence(rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, LENGTH, 16, generator=torch.Generator().manual_seed(1))


class Rows:
    """How many positions the last layer's MLP has seen."""

    def __init__(self, model: Any) -> None:
        self.seen: list[int] = []
        model.layers[-1].mlp.register_forward_pre_hook(lambda _, args: self.seen.append(args[0].shape[1]))


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "left-padded"])
def test_states_are_those_of_the_whole_layer(name: str, padded: bool) -> None:
    model, options = decoder(DECODERS[name]), {}
    if padded:
        mask = torch.ones(2, LENGTH, dtype=torch.long)
        mask[0, :5] = 0
        options = {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp_min(0)}
    rows = Rows(model)
    with torch.inference_mode():
        whole = model(inputs_embeds=sequence(), use_cache=False, **options).last_hidden_state
        with only_last(model, K):
            last = model(inputs_embeds=sequence(), use_cache=False, **options).last_hidden_state
        again = model(inputs_embeds=sequence(), use_cache=False, **options).last_hidden_state
    torch.testing.assert_close(last, whole[:, -K:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(again, whole, rtol=0, atol=0)
    assert rows.seen == [LENGTH, K, LENGTH]


def test_all_positions_are_not_fewer_than_the_layer_has() -> None:
    model = decoder(DECODERS["llama"])
    with torch.inference_mode(), only_last(model, LENGTH):
        assert model(inputs_embeds=sequence()).last_hidden_state.shape[1] == LENGTH


def test_training_keeps_the_plain_graph() -> None:
    model = decoder(DECODERS["llama"])
    rows = Rows(model)
    with only_last(model, K):
        model(inputs_embeds=sequence()).last_hidden_state[:, -K:].sum().backward()
    with torch.no_grad(), only_last(model.train(), K):  # dropout is drawn as it is with gradients
        model(inputs_embeds=sequence())
    assert rows.seen == [LENGTH, LENGTH]


def test_a_caller_that_keeps_a_cache_of_its_own_gets_it_filled() -> None:
    model = decoder(DECODERS["llama"])
    cache = DynamicCache(config=DECODERS["llama"])
    with torch.inference_mode(), only_last(model, K):
        states = model(inputs_embeds=sequence(), cache=cache, use_cache=True).last_hidden_state
    assert states.shape[1] == cache.get_seq_length(2) == LENGTH


@pytest.mark.parametrize("how", ["wrapped", "in place"])
def test_a_compiled_decoder_runs_whole(how: str) -> None:
    model = decoder(LlamaConfig(**SMALL | {"num_hidden_layers": 1}))
    if how == "in place":
        model.compile(backend="eager")
    found = torch.compile(model, backend="eager") if how == "wrapped" else model
    with torch.inference_mode():
        with only_last(found, K):
            first = found(inputs_embeds=sequence()).last_hidden_state
        then = found(inputs_embeds=sequence()).last_hidden_state
    assert first.shape == then.shape == (2, LENGTH, 16)


class Unforeseen(nn.Module):
    """A decoder whose layers are given one more tensor with a place for each position."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.layers, self.inner = inner.layers, inner

    def forward(self, states: torch.Tensor, extra: torch.Tensor) -> Any:
        layer = self.layers[-1]
        places = torch.arange(LENGTH)[None]
        turned = self.inner.rotary_emb(states, position_ids=places)
        return layer(states, attention_mask=None, position_embeddings=turned, extra=extra)


def test_a_layer_that_is_called_in_another_way_runs_whole() -> None:
    model = Unforeseen(decoder(DECODERS["llama"]))
    rows = Rows(model)
    with torch.inference_mode():
        whole = model(sequence(), torch.zeros(2, LENGTH))
        with only_last(model, K):
            found = model(sequence(), torch.zeros(2, LENGTH))
    torch.testing.assert_close(found, whole, rtol=0, atol=0)
    assert rows.seen == [LENGTH, LENGTH]


def test_a_layer_whose_states_get_something_added_runs_whole() -> None:
    model = decoder(DECODERS["llama"])
    with torch.inference_mode(), only_last(model, K, added=3):
        assert model(inputs_embeds=sequence()).last_hidden_state.shape[1] == LENGTH

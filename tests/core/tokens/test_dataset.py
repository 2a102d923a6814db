"""Tokens as a torch dataset: the very numbers of the shards, in the order that is asked for, each checked."""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
import pytest
import torch

from fwd2bot_core.errors import CompressorMismatch, IntegrityError
from fwd2bot_core.tokens.dataset import TokenDataset
from fwd2bot_core.tokens.numbers import widened
from tests.core.tokens.shards import made

SHARDS = {"one": made(70), "two": made(5, first=500)}
BY = SHARDS["one"].spec.fingerprint
PLACES = [("one", row, row) for row in (69, 0, 5)] + [("two", row, 500 + row) for row in (4, 1)]


class Opened:
    """Opens shards, and counts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> BinaryIO:
        self.names.append(name)
        return io.BytesIO(SHARDS[name].data)


def test_items_are_tokens_as_float32_with_their_object_version() -> None:
    dataset = TokenDataset(PLACES, Opened(), BY)
    assert len(dataset) == 5
    for index, (name, row, number) in enumerate(PLACES):
        tokens, said = dataset[index]
        assert (tokens.dtype, said) == (torch.float32, number)
        shard = SHARDS[name]
        np.testing.assert_array_equal(tokens.numpy(), widened(shard.tokens[row : row + 1], shard.spec)[0])


def test_a_batch_opens_each_shard_once() -> None:
    opened = Opened()
    batch = TokenDataset(PLACES, opened, BY).__getitems__([4, 0, 3, 0])
    assert sorted(opened.names) == ["one", "two"]
    assert [number for _, number in batch] == [501, 69, 504, 69]


def test_another_image_in_its_place_is_noticed() -> None:
    with pytest.raises(IntegrityError, match="holds object version 69, not 7"):
        TokenDataset([("one", 69, 7)], Opened(), BY)[0]


def test_another_compressor_s_tokens_are_refused() -> None:
    with pytest.raises(CompressorMismatch):
        TokenDataset(PLACES, Opened(), "cd" * 32)[0]

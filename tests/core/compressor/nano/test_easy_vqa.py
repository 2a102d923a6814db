from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import design, easy_vqa
from fwd2bot_core.errors import UsageError

needed = pytest.mark.skipif(find_spec("easy_vqa") is None, reason="needs the package easy-vqa")


@pytest.fixture(scope="module")
def split():
    return easy_vqa.load("test", 32, (0.25, 0.25, 0.25))


@needed
def test_the_test_split_is_whole(split):
    assert split.pixels.shape == (1_000, 3, 32, 32)
    assert split.pixels.dtype == np.uint8
    assert sum(len(pairs) for pairs in split.asked) == 9_673
    assert {answer for pairs in split.asked for _, answer in pairs} == set(easy_vqa.ANSWERS)


@needed
def test_questions_belong_to_their_pictures(split):
    """Two independent signs: what a picture is said to be coloured, and what its pixels are."""
    channel = {"red": 0, "green": 1, "blue": 2}
    tried = 0
    for pixels, pairs in zip(split.pixels, split.asked, strict=True):
        named = {answer for _, answer in pairs} & set(channel)
        if len(named) == 1:
            spread = pixels.astype(int).std(axis=(1, 2))
            assert spread.argmin() == channel[named.pop()]  # the ground is white: this channel stays as it is
            tried += 1
    assert tried > 200


@needed
def test_the_tokenizer_knows_all_its_words(split):
    tokenizer = design.tokenizer()
    unknown = tokenizer.token_to_id("<unk>")
    texts = {f"{question} {answer}" for pairs in split.asked for question, answer in pairs}
    assert not [text for text in texts if unknown in tokenizer.encode(text).ids]


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setattr(easy_vqa, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install .*easy-vqa==1\.0"):
        easy_vqa.load("test", 32, (0, 0, 0))

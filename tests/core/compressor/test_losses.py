from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from fwd2bot_core.compressor.losses import IGNORE, autoregressive, contrastive


def test_only_asked_labels_count():
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, 2] = 50.0
    assert autoregressive(logits, torch.tensor([[IGNORE, 2, IGNORE]])).item() == pytest.approx(0, abs=1e-6)
    uniform = autoregressive(logits, torch.tensor([[0, IGNORE, IGNORE]]))
    assert uniform.item() == pytest.approx(math.log(4))


def test_weights_say_how_much_each_label_counts():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, IGNORE], [0, IGNORE, IGNORE]])
    weights = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    each = -logits.log_softmax(-1)
    expected = (0.5 * each[0, 0, 1] + 0.5 * each[0, 1, 2] + each[1, 0, 0]) / 2
    torch.testing.assert_close(autoregressive(logits, labels, weights), expected)


def unit(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_contrast_is_the_mean_of_both_directions():
    images, texts = unit(5, 1), unit(5, 2)
    scores = images @ texts.T / 0.1
    expected = -(scores.log_softmax(1).diagonal().mean() + scores.log_softmax(0).diagonal().mean()) / 2
    found = contrastive(images, texts, temperature=0.1, captions=torch.arange(5))
    torch.testing.assert_close(found, expected)
    swapped = contrastive(texts, images, temperature=0.1, captions=torch.arange(5))
    torch.testing.assert_close(found, swapped)


def test_an_equal_caption_is_no_negative():
    images, texts = unit(4, 1), unit(4, 2)
    texts[1] = texts[0]  # trays 0 and 1 hold the same
    captions = torch.tensor([0, 0, 2, 3])
    found = contrastive(images, texts, temperature=0.1, captions=captions)
    scores = images @ texts.T / 0.1
    scores[0, 1] = scores[1, 0] = -torch.inf
    expected = (F.cross_entropy(scores, torch.arange(4)) + F.cross_entropy(scores.T, torch.arange(4))) / 2
    torch.testing.assert_close(found, expected)
    assert found < contrastive(images, texts, temperature=0.1, captions=torch.arange(4))


def test_a_batch_of_one_caption_asks_for_nothing_and_stays_finite():
    images = unit(3, 1).requires_grad_()
    loss = contrastive(images, unit(3, 2), temperature=0.1, captions=torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(images.grad, torch.zeros_like(images))

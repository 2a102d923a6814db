from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, pool, script
from fwd2bot_core.compressor.lvlm import Stage
from tests.core.compressor import models


@pytest.fixture
def net():
    return models.net()


def pixels(count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(3)).to(
        torch.uint8
    )


def test_pass_one_is_the_plain_sequence_under_the_first_pairs(net):
    """[BOS][16 visual tokens][prompt][3 summary tokens], and the post-norm states at the last three."""
    tokenizer = models.words()
    prompt = tokenizer.encode("Summarize the image in a few words.").ids
    with torch.no_grad():
        visual = net.visual(pixels())
        sequence = torch.cat(
            [
                net.lvlm.embed(torch.tensor([[1]] * 2)),
                visual,
                net.lvlm.embed(torch.tensor([prompt] * 2)),
                net.summary_tokens.expand(2, -1, -1),
            ],
            dim=1,
        )
        expected = net.lvlm.views["compress"](inputs_embeds=sequence).last_hidden_state[:, -3:]
        found = net.summarise(visual)
    assert tokenizer.decode(prompt) == "summarize the image in a few words"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # the last layer is cut: rounding


def test_pixels_are_normalised_by_the_method(net):
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    assert torch.allclose(net.normalised(white), torch.tensor(3.0))  # (1 - 0.25) / 0.25
    assert torch.allclose(net.normalised(torch.zeros_like(white)), torch.tensor(-1.0))


def test_later_summary_tokens_do_not_change_earlier_ones(net):
    with torch.no_grad():
        visual = net.visual(pixels())
        before = net.summarise(visual)
        net.summary_tokens[-1].add_(1)
        after = net.summarise(visual)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_padding_a_text_on_the_left_changes_nothing(net):
    ids = torch.tensor([[1, 9, 10, 11]])
    padded = torch.tensor([[0, 0, 1, 9, 10, 11], [1, 9, 10, 11, 12, 13]])
    mask = (padded > 0).long()
    with torch.no_grad():
        alone = net.summarise_text(ids)
        together = net.summarise_text(padded, mask)
    torch.testing.assert_close(together[:1], alone)


@pytest.mark.parametrize("stage", [Stage.ANSWER, Stage.BASE])
def test_greedy_with_a_cache_says_what_it_would_say_without(net, stage):
    ids = torch.tensor([[9, 10, 11], [12, 13, 14]])
    with torch.no_grad():
        image = net.visual(pixels())
        said, sure = net.greedy(stage, image, ids, 5)
        sequence, expected, likely = net.question(image, ids), [], []
        for _ in range(said.shape[1]):
            best = net.lvlm.logits(net.lvlm.hidden(stage, sequence)[:, -1]).softmax(-1).max(-1)
            expected.append(best.indices)
            likely.append(best.values)
            sequence = torch.cat([sequence, net.lvlm.embed(best.indices[:, None])], dim=1)
    assert torch.equal(said, torch.stack(expected, 1))
    torch.testing.assert_close(sure, torch.stack(likely, 1))


def test_pooled_vectors_have_length_one_and_float32(net):
    vectors = pool(torch.randn(4, 3, 16, dtype=torch.float64))
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(4))


def test_text_before_the_image_goes_before_it_in_both_passes():
    method = replace(models.METHOD, question_template="the lot :<image>{question}")
    net = DoubleForward(models.llava(), method, script(models.words(), method))
    ids = [1, *models.words().encode("the lot :").ids]
    assert net.before.tolist() == ids
    image = torch.zeros(1, 3, 16)
    with torch.no_grad():
        found = net.question(image, torch.tensor([[9]]))
        assert torch.equal(found[0, : len(ids)], net.lvlm.embed(torch.tensor(ids)))

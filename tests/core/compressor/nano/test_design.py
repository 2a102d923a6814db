"""The nano bundle's words and shape; that they carry a method's whole way is the other tests' business."""

from __future__ import annotations

import pytest
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward, script
from fwd2bot_core.compressor.nano import data, design, easy_vqa, trays


@pytest.fixture(scope="module")
def tokenizer():
    return design.tokenizer()


@pytest.fixture(scope="module")
def net(tokenizer):
    model = design.model(tokenizer.get_vocab_size(), 0)
    return DoubleForward(model, design.METHOD, script(tokenizer, design.METHOD)).eval()


def test_people_may_write_as_people_do(tokenizer):
    assert tokenizer.encode("What is in B2?").ids == tokenizer.encode("what is in b2").ids
    assert tokenizer.encode("Describe a3 !").ids == tokenizer.encode("describe a3.").ids
    assert (
        tokenizer.encode("a1 red bag,b2 blue boot").ids == tokenizer.encode("a1 red bag , b2 blue boot").ids
    )
    assert tokenizer.token_to_id("<unk>") in tokenizer.encode("is there a walrus?").ids


def test_answers_are_written_as_people_write(tokenizer):
    for said in ("big red t-shirt, upright, scratched", "042", "nothing, card, bag"):
        assert tokenizer.decode(tokenizer.encode(said).ids) == said


def test_each_word_is_one_id_and_each_digit_of_a_lot(tokenizer):
    assert len(tokenizer.encode("what is in b2?").ids) == 4
    assert len(tokenizer.encode("lot 042").ids) == 1 + 3
    words = [*trays.KINDS, *trays.COLORS, *trays.CELLS, *easy_vqa.ANSWERS, *easy_vqa.WORDS]
    assert {len(tokenizer.encode(word).ids) for word in words} == {1}


def test_the_special_ids_are_what_the_model_believes(tokenizer, net):
    text = net.lvlm.base.config.text_config
    assert [tokenizer.token_to_id(name) for name in design.SPECIAL] == [0, 1, 2, 3, 4]
    assert (text.pad_token_id, text.bos_token_id, text.eos_token_id) == (0, 1, 2)
    assert net.lvlm.base.config.image_token_index == tokenizer.token_to_id("<image>")


def test_it_reads_144_visual_tokens_and_gives_back_nine(net):
    pixels = torch.zeros(2, 3, design.PIXELS, design.PIXELS, dtype=torch.uint8)
    with torch.inference_mode():
        visual = net.visual(pixels)
        summary = net.summarise(visual)
    assert visual.shape == (2, design.VISUAL, net.lvlm.width)
    assert summary.shape == (2, design.METHOD.k, net.lvlm.width)
    assert [design.VISUAL // k for k in design.PREFIXES] == [144, 72, 36, 16]
    assert {design.METHOD.k, *design.METHOD.trained_k} == set(design.PREFIXES)


def test_one_seed_is_one_model(tokenizer):
    count = tokenizer.get_vocab_size()
    first, again, other = (dict(design.model(count, seed).named_parameters()) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_it_begins_by_looking_at_what_is_alike(net):
    for layer in net.lvlm.base.model.language_model.layers:
        assert torch.equal(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight)


def test_its_longest_question_fits(net):
    text = net.lvlm.base.config.text_config
    assert text.max_position_embeddings >= 2 + design.VISUAL + data.PACKED

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import transformers as t
from safetensors.torch import load_file

from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.families import trial
from fwd2bot_core.compressor.families.opening import PROMPT, open_model
from fwd2bot_core.compressor.view import View
from fwd2bot_core.errors import BundleInvalid, CompressorError, ImageRejected, UsageError
from tests.core.compressor import models
from tests.core.compressor.families import tiny

SETTINGS = {"name": "new", "k": 2, "rank": 2, "alpha": 4.0}


@pytest.fixture
def folder(tmp_path):
    return tiny.save(tmp_path / "model", "qwen2_5_vl")


def change(file, **values):
    found = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


TEMPLATES = {
    "llava": "user <image>{question} assistant",
    "qwen3_vl": "user <|vision_start|><image><|vision_end|>{question} assistant",
    "gemma3": "user \n\n<start_of_image><image><end_of_image>\n\n{question} assistant",
    "internvl": "user <img><image></img>{question} assistant",
    "paligemma": "<image><bos>{question}\n",
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_a_model_is_asked_as_its_own_chat_template_has_it(tmp_path, family):
    opened = open_model(tiny.save(tmp_path / "model", family))
    method = opened.method(**SETTINGS)
    after = TEMPLATES[family].split("<image>")[1]
    assert method.question_template == TEMPLATES[family]
    assert method.prompt == after.replace("{question}", PROMPT)
    assert opened.method(**SETTINGS, prompt="describe .").prompt == "describe ."


def test_an_opening_goes_where_the_model_wants_it(tmp_path):
    """Qwen has none, Gemma's stands in front, PaliGemma's after the image, and once."""
    before = {}
    for family in ("qwen3_vl", "gemma3", "paligemma"):
        opened = open_model(tiny.save(tmp_path / family, family))
        net = opened.net(opened.method(**SETTINGS))
        before[family] = (net.before.tolist()[:1], net.prompt.tolist()[:1], net.lvlm.bos)
    user, boi, bos = (tiny.id_of(token) for token in ("user", "<|vision_end|>", "<bos>"))
    assert before["qwen3_vl"] == ([user], [boi], None)
    assert before["gemma3"] == ([bos], [tiny.id_of("<end_of_image>")], bos)
    assert before["paligemma"] == ([], [bos], bos)


def test_generation_settings_say_what_ends_an_answer(folder):
    change(folder / "generation_config.json", eos_token_id=[2, 14])
    opened = open_model(folder)
    assert opened.net(opened.method(**SETTINGS)).lvlm.eos == {2, 14}


def test_a_model_without_a_chat_template_must_be_told_how_to_ask(folder):
    change(folder / "tokenizer_config.json", chat_template=None)
    opened = open_model(folder)
    with pytest.raises(CompressorError, match="no chat template: say question_template"):
        opened.method(**SETTINGS)
    assert opened.method(**SETTINGS, question_template="<image> {question}").prompt == f" {PROMPT}"


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_how_attention_is_computed_is_not_for_the_folder_to_say(folder, name):
    """It may name a repository with kernels, which would be fetched."""
    config = json.loads((folder / "config.json").read_text())
    change(
        folder / "config.json",
        **{name: "someone/kernels"},
        text_config=config["text_config"] | {name: "someone/kernels"},
    )
    found = open_model(folder).model.config
    assert (found._attn_implementation, found.text_config._attn_implementation) == ("sdpa", "sdpa")
    assert "someone" not in str(vars(found.text_config))


def test_what_is_no_folder_of_a_model_is_refused(tmp_path):
    with pytest.raises(CompressorError, match="nowhere is no model that can be opened"):
        open_model(tmp_path / "nowhere")


def test_a_model_of_words_alone_is_refused_by_its_type(tmp_path):
    t.LlamaForCausalLM(t.LlamaConfig(**tiny.TEXT)).save_pretrained(tmp_path)
    with pytest.raises(CompressorError, match="a llama model, which is no image-text-to-text model"):
        open_model(tmp_path)


def test_weights_that_could_run_code_are_not_opened(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CompressorError, match=r"no model that can be opened.*safetensors"):
        open_model(folder)


def test_a_folders_own_code_is_not_run(folder):
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    change(folder / "config.json", model_type="mine", auto_map={"AutoConfig": "mine.Config"})
    with pytest.raises(CompressorError, match="no model that can be opened"):
        open_model(folder)
    change(folder / "config.json", model_type="qwen2_5_vl", auto_map=None)
    change(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "mine.Eyes"})
    assert open_model(folder).processor["image_processor_type"] == "Qwen2VLImageProcessor"


def test_a_model_that_sees_without_a_projector_of_our_kind_is_refused(tmp_path):
    config = t.Blip2Config(
        vision_config={**tiny.TOWER, "image_size": 32, "patch_size": 8},
        qformer_config={**tiny.TOWER, "encoder_hidden_size": 16, "vocab_size": 8},
        text_config={
            "model_type": "opt",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "vocab_size": 16,
            "ffn_dim": 32,
            "num_attention_heads": 2,
            "word_embed_proj_dim": 32,
        },
    )
    t.Blip2ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(
        CompressorError, match="Blip2ForConditionalGeneration is no image-text-to-text model that"
    ):
        open_model(tmp_path)


@pytest.fixture
def unknown(tmp_path, monkeypatch):
    """A family that the tests above know nothing of."""
    monkeypatch.setitem(
        tiny.CONFIGS,
        "qwen2_vl",
        lambda: t.Qwen2VLConfig(
            text_config={**tiny.TEXT, "rope_parameters": tiny.MROPE},
            vision_config={"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4},
            **tiny.QWEN_IDS,
        ),
    )
    monkeypatch.setitem(tiny.EYES, "qwen2_vl", tiny.EYES["qwen2_5_vl"])
    return open_model(tiny.save(tmp_path / "model", "qwen2_vl"))


def test_an_unknown_family_is_held_against_its_own_forward(unknown):
    net = unknown.net(unknown.method(**SETTINGS, question_template="<image>{question} ?"))
    assert net.own_parameters()["summary_tokens"].shape == (2, 32)


def test_an_unknown_family_that_reads_images_otherwise_is_refused(unknown, monkeypatch):
    inner = unknown.model.model
    forward = inner.forward
    monkeypatch.setattr(inner, "forward", lambda **given: forward(**given | {"image_grid_thw": None}))
    with pytest.raises(CompressorError, match="reads images in a way of its own, its states differ by"):
        unknown.net(unknown.method(**SETTINGS, question_template="<image>{question} ?"))
    monkeypatch.setattr(trial, "difference", lambda *_: 1 / 0)
    with pytest.raises(CompressorError, match=r"does not take images the way .*division by zero"):
        unknown.net(unknown.method(**SETTINGS, question_template="<image>{question} ?"))


@pytest.fixture
def made(folder, tmp_path):
    opened = open_model(folder)
    method = opened.method(**SETTINGS)
    bundle.save_bundle(tmp_path / "bundle", opened.net(method), opened.tokenizer, method)
    return tmp_path / "bundle"


def test_the_image_processor_is_part_of_the_bundle_and_of_its_fingerprint(made):
    method = bundle.load_bundle(made).method
    hashes = dict.fromkeys((bundle.WEIGHTS, bundle.ADAPTERS, bundle.MODEL, bundle.WORDS), "0" * 64)
    spec = bundle.read_spec(made)
    assert spec.preprocessing["processor"]["size"]["longest_edge"] == 64 * 64
    other = replace(method, processor={**method.processor, "resample": 2})
    assert bundle.fingerprint(other, hashes) != bundle.fingerprint(method, hashes)


def test_a_family_that_chooses_its_resolution_has_no_size_to_set(made):
    with pytest.raises(UsageError, match="chooses the resolution by the picture itself: leave size out"):
        bundle.load_bundle(made, view=View(size=(64, 64)))


@pytest.mark.parametrize("kind", ["NoSuchProcessor", "AutoImageProcessor", "os.system", None])
def test_a_processor_that_transformers_has_not_is_refused(made, kind):
    settings = json.loads((made / bundle.METHOD).read_bytes())
    settings["processor"]["image_processor_type"] = kind
    (made / bundle.METHOD).write_bytes(manifest.canonical(settings))
    bundle.seal(made, manifest.read(made).files)
    with pytest.raises(BundleInvalid, match="transformers has no image processor"):
        bundle.load_bundle(made)


def test_a_bundle_whose_model_has_no_eyes_is_refused(made):
    config = json.loads((made / bundle.MODEL).read_bytes()) | {"model_type": "qwen2"}
    (made / bundle.MODEL).write_bytes(manifest.canonical(config))
    bundle.seal(made, manifest.read(made).files)
    with pytest.raises(CompressorError, match="type 'qwen2' is no image-text-to-text model"):
        bundle.load_bundle(made)


def test_a_picture_that_the_processor_cannot_take_is_refused_alone(made):
    with pytest.raises(ImageRejected, match=r"the model cannot look at it: .*aspect ratio"):
        bundle.load_bundle(made).prepare(models.image(0, (3000, 2)))

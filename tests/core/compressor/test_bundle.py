from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from fwd2bot_core.compressor import bundle, manifest, weights
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.errors import BundleInvalid, CompressorError, ExitCode
from tests.core.compressor import models

FILES = (*bundle.PARTS, "MODEL_CARD.md", manifest.NAME)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = models.saved(tmp_path_factory.mktemp("bundle") / "tiny")
    first = bundle.load_bundle(folder)
    probes = [Probe.make(first, models.image(9), "how many items ?").as_json()]
    bundle.add_files(
        folder, {bundle.PROBES: manifest.canonical({"probes": probes}), "MODEL_CARD.md": b"# Tiny\n"}
    )
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def test_the_questions_of_fidelity_are_the_bundles_own_and_no_part_of_its_fingerprint(folder):
    loaded = bundle.load_bundle(folder)
    assert loaded.fidelity_probes == ("how many items ?",)  # those of its probes, where it names no others
    listed = json.loads((folder / bundle.PROBES).read_bytes())
    asked = ["describe .", "is there a bag ?"]
    whole = manifest.canonical({**listed, "fidelity_probes": asked})
    assert bundle.add_files(folder, {bundle.PROBES: whole}) == loaded.spec.fingerprint
    again = bundle.load_bundle(folder)
    assert again.fidelity_probes == tuple(asked)
    assert bundle.self_check(again) == []


def test_a_bundle_gives_the_same_bits_in_every_load(made):
    first, again = bundle.load_bundle(made), bundle.load_bundle(made)
    images = [first.prepare(models.image(seed)) for seed in range(3)]
    assert first.compress(images).tokens.tobytes() == again.compress(images).tokens.tobytes()
    assert first.spec == again.spec == bundle.read_spec(made)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_bundle_holds_the_network_that_was_saved(tmp_path, dtype):
    method = replace(models.METHOD, merged=False, dtype=dtype)
    source = models.net(method, dtype=getattr(torch, dtype))
    bundle.save_bundle(tmp_path / "b", source, models.words(), method)
    loaded = bundle.load_bundle(tmp_path / "b")
    pixels = torch.from_numpy(
        np.concatenate([loaded.prepare(models.image(seed)).pixels for seed in range(3)])
    )
    with torch.inference_mode():
        expected = source.summarise(source.visual(pixels))
        found = loaded.net.summarise(loaded.net.visual(pixels))
    assert torch.equal(expected, found)


def test_weights_that_need_half_the_bytes_take_half_and_come_back_exactly(tmp_path):
    method = replace(models.METHOD, merged=False)
    source = models.net(method)
    bundle.save_bundle(tmp_path / "whole", source, models.words(), method)
    weights.round_to_half(source.lvlm.base)
    bundle.save_bundle(tmp_path / "half", source, models.words(), method)
    whole, half = ((tmp_path / name / bundle.WEIGHTS).stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    loaded = bundle.load_bundle(tmp_path / "half").net.lvlm.base.state_dict()
    for name, tensor in source.lvlm.base.state_dict().items():
        assert loaded[name].dtype == torch.float32, name
        assert torch.equal(loaded[name], tensor), name


def test_saving_writes_the_same_bytes_again(made, tmp_path):
    again = models.saved(tmp_path / "again")
    for name in (bundle.WEIGHTS, bundle.ADAPTERS, bundle.METHOD, bundle.MODEL, bundle.WORDS):
        assert (again / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_changed_byte_anywhere_is_found_and_its_file_named(folder, name, place):
    path = folder / name
    content = bytearray(path.read_bytes())
    at = {"first": 0, "middle": len(content) // 2, "last": len(content) - 1}[place]
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleInvalid, match=re.escape(name)) as caught:
        bundle.load_bundle(folder)
    assert "fetch the bundle again" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code is ExitCode.INTEGRITY


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_or_gone_is_found(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(BundleInvalid, match=re.escape(name)):
        bundle.load_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(CompressorError, match=re.escape(name)):
        bundle.load_bundle(folder)


def forged(folder, **changes):
    """A manifest that is canonical and sealed, as an attacker would make it."""
    body = json.loads((folder / manifest.NAME).read_bytes())
    del body["seal"]
    body |= changes
    sealed = {**body, "seal": manifest.sha256(manifest.canonical(body))}
    (folder / manifest.NAME).write_bytes(manifest.canonical(sealed))


HOSTILE = [
    "../outside.json",
    "/etc/passwd",
    "a/b.json",
    "..",
    ".",
    "",
    ".hidden",
    "a\\b",
    "C:secret",
    "a\x00b",
    "a\n",
    "ü.json",
    "x" * 101,
    "manifest.json",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_could_lead_elsewhere_are_refused(folder, name):
    content = b"{}"
    (folder.parent / "outside.json").write_bytes(content)
    files = json.loads((folder / manifest.NAME).read_bytes())["files"]
    entry = {"bytes": len(content), "sha256": manifest.sha256(content)}
    forged(folder, files={**files, name: entry})
    with pytest.raises(BundleInvalid, match="no plain file name"):
        bundle.load_bundle(folder)


def test_a_link_is_not_followed(folder):
    outside = folder.parent / "elsewhere"
    (folder / bundle.WEIGHTS).rename(outside)
    (folder / bundle.WEIGHTS).symlink_to(outside)
    with pytest.raises(BundleInvalid, match="no plain file"):
        bundle.load_bundle(folder)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {"bytes": -1, "sha256": "0" * 64},
        {"bytes": 1, "sha256": "0"},
        {"bytes": "1", "sha256": "0" * 64},
    ],
)
def test_entries_that_say_nothing_are_refused(folder, entry):
    forged(folder, files={"compressor.json": entry})
    with pytest.raises(BundleInvalid, match="no size and sha256"):
        bundle.load_bundle(folder)


def test_a_forged_fingerprint_is_refused_even_without_loading(folder):
    forged(folder, fingerprint="f" * 64)
    for read in (bundle.read_spec, bundle.load_bundle):
        with pytest.raises(BundleInvalid, match="fingerprint"):
            read(folder)


def test_other_formats_and_missing_parts_are_told(folder):
    files = json.loads((folder / manifest.NAME).read_bytes())["files"]
    forged(folder, files={name: entry for name, entry in files.items() if name != bundle.PROBES})
    with pytest.raises(BundleInvalid, match=r"lists no probes\.json"):
        bundle.load_bundle(folder)
    forged(folder, format=2)
    with pytest.raises(BundleInvalid, match="format 2"):
        bundle.load_bundle(folder)


def test_a_manifest_without_end_is_not_read(folder):
    (folder / manifest.NAME).write_bytes(b"[" * (manifest.MAX_BYTES + 1))
    with pytest.raises(BundleInvalid, match="larger than"):
        bundle.load_bundle(folder)
    (folder / manifest.NAME).write_bytes(b"[" * 100_000)
    with pytest.raises(BundleInvalid, match="cannot be read"):
        bundle.load_bundle(folder)


def test_no_bundle_at_all_is_no_integrity_problem(tmp_path):
    with pytest.raises(CompressorError, match="is no bundle") as caught:
        bundle.load_bundle(tmp_path / "nothing")
    assert not isinstance(caught.value, BundleInvalid)


def rewritten(folder, name, content):
    """A bundle whose maker sealed something that cannot work."""
    (folder / name).write_bytes(content)
    bundle.seal(folder, manifest.read(folder).files)


def test_weights_of_another_architecture_do_not_load_in_silence(folder):
    weights = safetensors.torch.load((folder / bundle.WEIGHTS).read_bytes())
    del weights["lm_head.weight"]
    rewritten(folder, bundle.WEIGHTS, safetensors.torch.save(weights))
    with pytest.raises(BundleInvalid, match=r"do not fit together.*lm_head"):
        bundle.load_bundle(folder)


def test_adapters_of_another_shape_do_not_load_in_silence(folder):
    adapters = safetensors.torch.load((folder / bundle.ADAPTERS).read_bytes())
    adapters["summary_tokens"] = adapters["summary_tokens"][:1].clone()
    rewritten(folder, bundle.ADAPTERS, safetensors.torch.save(adapters))
    with pytest.raises(BundleInvalid, match=r"do not fit together.*shape of summary_tokens"):
        bundle.load_bundle(folder)


def test_probes_that_cannot_be_read_are_told(folder):
    rewritten(folder, bundle.PROBES, b"{}")
    with pytest.raises(BundleInvalid, match="do not fit together"):
        bundle.load_bundle(folder)


def test_a_pickle_is_not_loaded_whatever_its_name(folder):
    torch.save({"lm_head.weight": torch.zeros(1)}, folder / bundle.WEIGHTS)
    bundle.seal(folder, manifest.read(folder).files)
    with pytest.raises(BundleInvalid, match="do not fit together"):
        bundle.load_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [{"k": 0}, {"dtype": "int8"}, {"surprise": 1}, {"size": None}, {"question_template": "{question}"}],
)
def test_settings_that_cannot_be_are_refused(folder, change):
    settings = json.loads((folder / bundle.METHOD).read_bytes()) | change
    (folder / bundle.METHOD).write_bytes(manifest.canonical(settings))
    manifest.write(folder, manifest.read(folder).files, "0" * 64)
    with pytest.raises(BundleInvalid):
        bundle.load_bundle(folder)
    with pytest.raises(BundleInvalid):
        bundle.read_spec(folder)


CHANGES = {
    "prompt": {"prompt": "describe the tray ."},
    "k": {"k": 4},
    "preprocessing": {"mean": (0.5, 0.25, 0.25)},
    "resolution": {"size": (32, 16)},
    "dtype": {"dtype": "float16"},
    "rank": {"rank": 3},
    "merging": {"merged": False},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_all_that_changes_tokens_changes_the_fingerprint(change):
    hashes = dict.fromkeys((bundle.WEIGHTS, bundle.ADAPTERS, bundle.MODEL, bundle.WORDS), "0" * 64)
    before = bundle.fingerprint(models.METHOD, hashes)
    assert bundle.fingerprint(replace(models.METHOD, **change), hashes) != before
    assert bundle.fingerprint(replace(models.METHOD, name="other", max_new_tokens=9), hashes) == before
    for part in hashes:
        assert bundle.fingerprint(models.METHOD, {**hashes, part: "1" * 64}) != before


def test_other_weights_are_another_compressor_and_documents_are_not(made, tmp_path):
    other = models.saved(tmp_path / "other", seed=1)
    known = bundle.read_spec(made)
    assert bundle.read_spec(other).fingerprint != known.fingerprint
    plain = models.saved(tmp_path / "plain")  # the same weights, without card and probes
    assert bundle.read_spec(plain).fingerprint == known.fingerprint


def test_the_spec_is_read_without_torch(made):
    script = (
        "import sys; from fwd2bot_core.compressor.bundle import read_spec;"
        f"spec = read_spec({str(made)!r}); print(spec.k, spec.d, spec.fingerprint);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'safetensors', 'tokenizers')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "16", bundle.load_bundle(made).spec.fingerprint]


def test_loading_leaves_the_callers_dice_alone(made):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    bundle.load_bundle(made)
    assert torch.equal(torch.rand(1), expected)


def test_a_bundle_that_still_answers_as_it_did_has_no_findings(made):
    assert bundle.self_check(bundle.load_bundle(made)) == []


def test_a_compressor_that_answers_otherwise_is_found_out(made):
    compressor = bundle.load_bundle(made)
    with torch.no_grad():
        compressor.net.lvlm.base.lm_head.weight.neg_()
        compressor.net.summary_tokens.mul_(-3)
    findings = bundle.self_check(compressor)
    assert any("is answered" in finding for finding in findings)
    assert any("has moved" in finding for finding in findings)


def test_a_compressor_without_probes_cannot_be_checked(tmp_path):
    findings = bundle.self_check(bundle.load_bundle(models.saved(tmp_path / "plain")))
    assert findings == ["the compressor carries no probes, so nothing can be checked"]

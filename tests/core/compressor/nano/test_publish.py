"""An untrained bundle, published in two steps."""

from __future__ import annotations

import json

import pytest

from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.nano import design, goals, publish
from tests.core.compressor.nano import untrained
from tests.core.compressor.nano.figured import measured


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return untrained.saved(tmp_path_factory.mktemp("bundle"))


def sealed(folder, name):
    return manifest.content(folder, manifest.read(folder), name)


def test_a_saved_bundle_is_whole_and_says_that_nothing_is_measured(folder):
    made = bundle.load_bundle(folder)
    assert bundle.self_check(made) == []
    assert [probe.question for probe in made.probes] == list(publish.PROBES)
    assert made.fidelity_probes == publish.FIDELITY
    made.check(made.fidelity_probes)
    told = json.loads(sealed(folder, publish.EVALUATION))
    assert told["fingerprint"] == made.spec.fingerprint
    assert all(row["measured"] == goals.NOT_YET for row in told["goals"][:10])
    assert b"<svg" in sealed(folder, publish.LOSS)


def test_probes_ask_only_in_words_that_the_bundle_knows():
    words = design.tokenizer()
    for question in (*publish.PROBES, *publish.FIDELITY):
        assert "<unk>" not in words.encode(question).tokens, question


def test_figures_come_later_and_leave_the_fingerprint(folder, tmp_path):
    before = bundle.read_spec(folder).fingerprint
    publish.describe(folder, measured(), out=tmp_path / "out")
    assert "accuracy" not in json.loads(sealed(folder, publish.EVALUATION))
    publish.describe(folder, measured(), seal=True)
    told = json.loads(sealed(folder, publish.EVALUATION))
    assert bundle.read_spec(folder).fingerprint == before == told["fingerprint"]
    assert told["origin"] == untrained.ORIGIN
    assert told["stages"]["tower"]["steps"] == 2
    assert told["accuracy"]["trays"]["all"]["from_9"] == 0.9
    assert (tmp_path / "out" / publish.CARD).read_bytes() == sealed(folder, publish.CARD)
    assert "| base, trays | >= 0.88 | 0.950 | met |" in (tmp_path / "out" / "nano.md").read_text()
    assert bundle.self_check(bundle.load_bundle(folder)) == []

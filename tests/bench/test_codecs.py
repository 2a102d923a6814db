"""The study of codecs runs and says what it measured; its figures are no test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fwd2bot_core.compressor.loading import load
from fwd2bot_core.compressor.nano import exam
from fwd2bot_core.tokens.codec_name import NAMES
from tests.bench import codecs


def test_it_measures_a_small_exam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = load("nano").prepare
    monkeypatch.setattr(codecs, "_held_out", lambda trays: exam.shipped(prepare, trays))
    monkeypatch.setattr(codecs, "LARGE", (2, 64))
    assert codecs.main(trays=3, out=tmp_path) in (0, 1)
    said = json.loads((tmp_path / "codecs.json").read_text())
    assert [row["codec"] for row in said["answers"]] == list(NAMES)
    assert said["answers"][0]["lost"] == said["answers"][0]["error"] == 0
    errors = [row["error"] for row in said["answers"]]
    assert errors == sorted(errors)
    stored = {row["codec"]: row for row in said["stored"][: len(NAMES)]}
    assert stored["bits4"]["stored"] < stored["int8"]["stored"] < stored["exact"]["stored"]
    assert stored["exact"]["100 KB"] < 1
    assert (tmp_path / "codecs.svg").read_bytes().startswith(b"<?xml")

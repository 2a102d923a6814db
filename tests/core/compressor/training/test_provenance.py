from __future__ import annotations

import json

from fwd2bot_core.compressor.training import provenance


def test_the_origin_is_the_first_ones_and_later_commits_are_added(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_commit", lambda: "aaa")
    path = tmp_path / "origin.json"
    first = provenance.record(path, seed=3, threads=2)
    assert (first["commit"], first["seed"], first["threads"], first["continued_at"]) == ("aaa", 3, 2, [])
    assert provenance.record(path, seed=4, threads=1) == first
    monkeypatch.setattr(provenance, "_commit", lambda: "bbb")
    later = provenance.record(path, seed=3, threads=2)
    assert later == {**first, "continued_at": ["bbb"]}
    assert provenance.record(path, seed=3, threads=2) == json.loads(path.read_text()) == later

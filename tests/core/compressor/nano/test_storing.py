from __future__ import annotations

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import design, storing
from fwd2bot_core.compressor.nano.exam import Paper
from fwd2bot_core.compressor.nano.judging import Judge
from fwd2bot_core.tokens.codec_name import NAMES
from tests.core.compressor.nano import untrained

SPEC = design.METHOD.spec("0" * 64, 160)


def test_every_codec_is_tried_at_every_k():
    tokens = np.random.default_rng(1).standard_normal((3, 9, 160)).astype(np.float32)
    paper = Paper(np.zeros((3, 1)), [[("how many items?", "two")]] * 3, [["count"]] * 3)
    rows = storing.curve(Judge(untrained.net()), SPEC, tokens, paper)
    assert [(row["k"], row["codec"]) for row in rows] == [(k, name) for k in (1, 2, 4, 9) for name in NAMES]
    assert all(row["over_bfloat16"] == 0.25 for row in rows if row["codec"] == "bits4")
    assert {row["bytes"] for row in rows if row["k"] == 9 and row["codec"] == "exact"} == {9 * 160 * 4}
    assert all(row["lost"] == 0 for row in rows if row["codec"] == "exact")


def row(codec: str, stored: int, lost: float, k: int = 9):
    return {"k": k, "codec": codec, "bytes": stored, "lost": lost}


def test_the_cheapest_codec_is_the_smallest_that_loses_little():
    found = [row("exact", 90, 0), row("int8", 50, -0.01), row("bits4", 25, 0.005), row("bits3", 19, 0.006)]
    assert storing.cheapest([*found, row("bits2", 1, 0, k=1)], 9)["codec"] == "bits4"
    assert storing.cheapest([row("exact", 1, 0)], 9) is None


def test_stored_bytes_count_the_vector():
    found = storing.stored_bytes(SPEC)
    assert (found["tokens"], found["vector"], found["bytes"]) == (720, 160, 880)
    assert found["times_smaller"]["1 MB"] == pytest.approx(1_000_000 / 880)

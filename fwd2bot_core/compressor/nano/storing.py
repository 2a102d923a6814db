"""What tokens cost to store and what rounding costs in answers: codec by codec, for each number of tokens.

Knows tokens, codecs and bytes. Knows nothing of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import design, shares
from fwd2bot_core.compressor.nano.exam import Paper
from fwd2bot_core.compressor.nano.judging import Floats, Judge
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens import codec as codecs
from fwd2bot_core.tokens import pooled
from fwd2bot_core.tokens.codec_name import NAMES, CodecName

ORIGINALS = {"100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
STORED: CodecName = "bits4"
LOSS = 0.005


def curve(
    judge: Judge,
    spec: CompressorSpec,
    tokens: Floats,
    paper: Paper,
    prefixes: Sequence[int] = design.PREFIXES,
) -> list[dict[str, Any]]:
    """Accuracy from the stored tokens [N, k, d] of each k under each codec, and bytes an image, vector not counted."""
    rows = []
    for k in sorted(prefixes):
        short, exact = replace(spec, k=k), 0.0
        for name in NAMES:
            back = codecs.as_stored(tokens[:, :k], short, name)
            marks = judge.marks(Stage.ANSWER, back, paper.asked)
            share = shares.share(marks, paper.kinds)
            exact = share if name == "exact" else exact
            stored = codecs.row_bytes(short, name)
            rows.append(
                {
                    "k": k,
                    "codec": name,
                    "bytes": stored,
                    "over_bfloat16": stored / (2 * k * spec.d),
                    "accuracy": share,
                    "lost": shares.over(exact - share, exact),
                }
            )
    return rows


def cheapest(curve_: Sequence[dict[str, Any]], k: int) -> dict[str, Any] | None:
    """The row of fewest bytes at ``k`` that loses at most half a percent."""
    good = [row for row in curve_ if row["k"] == k and row["codec"] != "exact" and row["lost"] <= LOSS]
    return min(good, key=lambda row: float(row["bytes"]), default=None)


def stored_bytes(spec: CompressorSpec) -> dict[str, Any]:
    """Bytes an image, its search vector included, and how many times smaller than its original."""
    tokens, vector = codecs.row_bytes(spec, STORED), pooled.row_bytes(spec.d, STORED)
    whole = tokens + vector
    return {
        "codec": STORED,
        "tokens": tokens,
        "vector": vector,
        "bytes": whole,
        "times_smaller": {name: original / whole for name, original in ORIGINALS.items()},
    }

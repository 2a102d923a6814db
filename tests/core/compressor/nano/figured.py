"""Figures as ``nano.figures`` finds them, with numbers that nobody measured."""

from __future__ import annotations

from typing import Any

from fwd2bot_core.compressor.nano import card, design
from fwd2bot_core.tokens.codec_name import NAMES
from tests.core.compressor.nano import untrained


def row(**shares: float) -> dict[str, Any]:
    found = {f"from_{k}": 0.9 for k in reversed(design.PREFIXES)}
    return {"questions": 10, "from_image": 0.95, **found, "chance": 0.3, **shares}


def measured() -> dict[str, Any]:
    ratio = {str(k): {"ratio": 0.996, "low": 0.99, "high": 1.0} for k in reversed(design.PREFIXES)}
    found = {"among": 1_000, "recall_at_1": 0.9, "first_look": 0.8, "ceiling": 0.99, "over_ceiling": 0.909}
    return {
        "counts": {"trays": 100, "easy": 20, "curve": 10},
        "bits_of_a_tray": 79.2,
        "below": "base",
        "accuracy": {
            "trays": {kind: row() for kind in card.EXAMPLES} | {"lot": row(from_9=0.31, from_image=0.5)},
            "easy-VQA": {kind: row(from_image=0.97) for kind in ("shape", "color", "yes or no", "all")},
        },
        "easy_without_yes_or_no": 0.97,
        "ratios": dict.fromkeys(("trays", "easy-VQA", "easy-VQA without yes or no"), ratio),
        "boundary": dict.fromkeys(card.EXAMPLES, 4) | {"lot": None, "easy-VQA: shape": 1},
        "search": {str(k): dict(found) for k in design.PREFIXES},
        "false_captions": {
            how: {"accuracy": 0.94, "captions": 9} for how in ("swap", "replace", "add", "all")
        },
        "probe": {"train": 30, "test": 20, "tokens": 0.8, "visual": 0.82, "ratio": 0.976},
        "curve": [
            {"k": k, "codec": name, "bytes": 10 * k, "over_bfloat16": 0.25, "accuracy": 0.9, "lost": 0.001}
            for k in design.PREFIXES
            for name in NAMES
        ],
        "stored": {"codec": "bits4", "bytes": 880, "times_smaller": {"100 KB": 113.6, "1 MB": 1136.4}},
    }


def figures() -> dict[str, Any]:
    stages = {"tower": {"batch": 4, "steps": 2, "of": 3, "seconds": 61, "limit": 60}}
    return {"fingerprint": "f" * 64, "origin": untrained.ORIGIN, "stages": stages} | measured()

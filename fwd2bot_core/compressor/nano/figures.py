"""What a nano bundle is worth, measured on what it has never seen; for its card, its table of goals, its plots.

    python -m fwd2bot_core.compressor.nano.figures --bundle nano --out DIR          look first
    python -m fwd2bot_core.compressor.nano.figures --bundle DIR --seal              put it into the bundle

Knows which figures there are. How each one is found is said in ``judging``, ``searching``, ``storing`` and
``linear_probe``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fwd2bot_core.compressor import adapters, bundle
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import design, exam, linear_probe, searching, shares, storing, trays
from fwd2bot_core.compressor.nano.judging import Floats, Judge, Marks
from fwd2bot_core.errors import UsageError

OPEN = ("shape", "color")  # easy-VQA's questions that are not answered by yes or no
ENOUGH = 0.98  # of the base's accuracy: what the boundary asks for


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is measured."""

    trays: int = exam.EXAM_TRAYS  # also among how many pictures a caption searches
    easy: int | None = None  # pictures; all of them
    train: int = 3_000  # single items that the probe learns from
    test: int = 2_000
    curve: int = 300  # trays for each k and codec


QUICK = Counts(trays=96, easy=100, train=300, test=200, curve=32)
Figures = dict[str, Any]


@dataclass(frozen=True)
class Sat:
    """A paper answered from the image, by the twin if there is one, and from each number of tokens."""

    paper: exam.Paper
    tokens: Floats  # [N, 9, d]
    whole: Marks
    twin: Marks | None
    short: dict[int, Marks]

    @property
    def below(self) -> Marks:
        """What the tokens' answers are held against."""
        return self.twin or self.whole


def measure(compressor: Fwd2BotCompressor, counts: Counts, twin: Judge | None = None) -> Figures:
    """All figures; they do not depend on the machine, but for the seconds that they took."""
    began, judge = time.perf_counter(), Judge(compressor.net)
    held = exam.held_out(counts.trays)
    tray = _sit(judge, exam.paper(held), twin)
    easy = _sit(judge, exam.easy(counts.easy), twin)
    curve = storing.curve(judge, compressor.spec, tray.tokens[: counts.curve], tray.paper.first(counts.curve))
    return {
        "counts": {"trays": counts.trays, "easy": len(easy.paper.asked), "curve": counts.curve},
        "bits_of_a_tray": round(trays.bits(), 1),
        "below": "twin" if twin else "base",
        "accuracy": {"trays": _table(tray), "easy-VQA": _table(easy)},
        "easy_without_yes_or_no": shares.share(easy.whole, easy.paper.kinds, OPEN),
        "ratios": {
            "trays": _ratios(tray),
            "easy-VQA": _ratios(easy),
            "easy-VQA without yes or no": _ratios(easy, OPEN),
        },
        "boundary": _boundary(tray) | {f"easy-VQA: {kind}": k for kind, k in _boundary(easy).items()},
        "search": {str(k): searching.search(judge, tray.tokens[:, :k], held) for k in design.PREFIXES},
        "false_captions": searching.false_captions(judge, tray.tokens, held),
        "probe": _probe(judge, counts),
        "curve": curve,
        "stored": storing.stored_bytes(compressor.spec),
        "measured_in_seconds": round(time.perf_counter() - began),
    }


def _sit(judge: Judge, paper: exam.Paper, twin: Judge | None) -> Sat:
    visual = judge.visual(paper.pixels)
    tokens = judge.tokens(visual)
    return Sat(
        paper,
        tokens,
        judge.marks(Stage.BASE, visual, paper.asked),
        twin.marks(Stage.ANSWER, visual, paper.asked) if twin else None,
        {k: judge.marks(Stage.ANSWER, tokens[:, :k], paper.asked) for k in design.PREFIXES},
    )


def _table(sat: Sat) -> dict[str, dict[str, Any]]:
    """By kind of question and for all of them: shares of right answers from each source."""
    kinds = sat.paper.kinds
    sources = {"from_image": sat.whole} | ({"from_image_twin": sat.twin} if sat.twin else {})
    sources |= {f"from_{k}": sat.short[k] for k in reversed(design.PREFIXES)}
    found = {
        name: shares.by_kind(marks, kinds) | {"all": shares.share(marks, kinds)}
        for name, marks in sources.items()
    }
    chance = shares.chance(sat.paper.asked, kinds)
    count = {kind: sum(row.count(kind) for row in kinds) for kind in chance} | {"all": sum(map(len, kinds))}
    return {
        kind: {
            "questions": count[kind],
            **{name: found[name][kind] for name in found},
            "chance": chance[kind],
        }
        for kind in chance
    }


def _ratios(sat: Sat, among: tuple[str, ...] | None = None) -> dict[str, dict[str, float]]:
    kinds = sat.paper.kinds
    return {str(k): shares.ratio(sat.short[k], sat.below, kinds, among) for k in reversed(design.PREFIXES)}


def _boundary(sat: Sat) -> dict[str, int | None]:
    """By kind of question: the fewest tokens from which as many keep enough of the base's accuracy, if any."""
    below = shares.by_kind(sat.below, sat.paper.kinds)
    short = {k: shares.by_kind(marks, sat.paper.kinds) for k, marks in sat.short.items()}
    found: dict[str, int | None] = {}
    for kind, whole in below.items():
        found[kind] = None
        for k in reversed(design.PREFIXES):
            if short[k][kind] < ENOUGH * whole:
                break
            found[kind] = k
    return found


def _probe(judge: Judge, counts: Counts) -> dict[str, Any]:
    """A linear probe for the ten kinds of items, coats and shirts too: on all tokens of one sort, side by side."""
    features: dict[str, list[Floats]] = {"tokens": [], "visual": []}
    kinds = []
    for split, count in (("train", counts.train), ("test", counts.test)):
        singles = exam.singles(split, count)
        visual = judge.visual(singles.pixels)
        features["visual"].append(visual.reshape(count, -1))
        features["tokens"].append(judge.tokens(visual).reshape(count, -1))
        kinds.append(singles.kinds)
    found: dict[str, Any] = {"train": counts.train, "test": counts.test}
    for name, (train, test) in features.items():
        found[name], found[f"penalty_{name}"] = linear_probe.accuracy(train, kinds[0], test, kinds[1])
    return found | {"ratio": shares.over(found["tokens"], found["visual"])}


def twin_of(bundle_: str | Path, file: Path) -> Judge:
    """The base with other pairs, which read all visual tokens: a checkpoint, whose names begin with ``answer.``."""
    net = bundle.load_bundle(bundle_, trainable=True).net
    state = torch.load(file, weights_only=True, map_location="cpu")
    saved = state.get("parameters", state)
    with torch.no_grad():
        for name, pair in adapters.pairs(net.lvlm.views[Stage.ANSWER.value]).items():
            if f"{Stage.ANSWER}.{name}" not in saved:
                raise UsageError(f"{file} has no answer.{name}: it holds no pairs of this bundle's twin")
            pair.copy_(saved[f"{Stage.ANSWER}.{name}"])
    return Judge(net)


def whole(kept: Mapping[str, Any], measured: Mapping[str, Any]) -> Figures:
    """What ``evaluation.json`` says: where the bundle comes from, then what was measured."""
    return {name: kept[name] for name in ("fingerprint", "origin", "stages") if name in kept} | dict(measured)


def main() -> None:
    from fwd2bot_core.compressor.nano import publish

    parser = argparse.ArgumentParser(description="Measure a nano bundle.")
    parser.add_argument("--bundle", default="nano", help="its name or folder")
    parser.add_argument("--out", type=Path, help="figures, card, table and plots go here")
    parser.add_argument("--seal", action="store_true", help="and into the bundle")
    parser.add_argument("--quick", action="store_true", help="far fewer of everything: to see that all works")
    parser.add_argument("--twin", type=Path, help="the base trained as long: a checkpoint of its pairs")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    if not chosen.out and not chosen.seal:
        parser.error("say --out DIR, --seal or both")
    torch.set_num_threads(chosen.threads)
    folder = bundle.locate(chosen.bundle)
    twin = twin_of(folder, chosen.twin) if chosen.twin else None
    found = measure(bundle.load_bundle(folder), QUICK if chosen.quick else Counts(), twin)
    publish.describe(folder, found, out=chosen.out, seal=chosen.seal)


if __name__ == "__main__":
    main()

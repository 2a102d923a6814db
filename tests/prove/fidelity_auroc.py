"""Does fidelity predict losses? Held-out images, questions that are not the probes, each k that the bundle serves.

    python -m tests.prove.fidelity_auroc --bundle nano --images 1500

A loss is a question that is answered rightly from the image and wrongly from the tokens. For every candidate definition
of the score it prints how well a low score tells losses from answers that stayed right (AUROC, 0.5 is chance): over
single questions, and over images with any loss. An image's score cannot tell its own questions apart, so the first of
the two has a ceiling below 1: what a score that knew each image's share of losses would reach stands in the last row.
Writes ``docs/evidence/fidelity_auroc.json`` and ``.svg``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
import numpy.typing as npt
from cyclopts import Parameter

from fwd2bot_core.compressor.bundle import load_bundle
from fwd2bot_core.compressor.evaluation import Example, right
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.nano import exam
from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.compressor.view import View
from fwd2bot_core.tokens import codec as codecs
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.fidelity import AGGREGATES, CHOSEN, Finding
from tests.bench import machine

BATCH = 64
DRAWS = 200  # of the bootstrap, over images
CEILING = "(share of the image's losses itself)"
Floats = npt.NDArray[np.float64]
app = cyclopts.App(name="fidelity_auroc", help=__doc__)


@dataclass(frozen=True)
class Asked:
    """One k: each image's scores by definition [I], and each question [Q] with its image, kind and fate."""

    scores: dict[str, Floats]
    image: npt.NDArray[np.int64]
    kind: list[str]
    counted: npt.NDArray[np.bool_]  # right from the image
    lost: npt.NDArray[np.bool_]  # and wrong from the tokens


def examination(compressor: Fwd2BotCompressor, images: int, seed: int) -> list[Example]:
    """Questions about photos of the official test split; those of one image follow each other."""
    return exam.shipped(compressor.prepare, images, seed=seed).examples


def ask(
    compressor: Fwd2BotCompressor, examples: Sequence[Example], probes: Sequence[str], codec: CodecName
) -> Asked:
    """Both sides' answers to all questions but the probes, and every definition's scores."""
    images: dict[int, Prepared] = {id(example.image): example.image for example in examples}
    place = {found: number for number, found in enumerate(images)}
    shown = list(images.values())
    tokens = np.concatenate([_stored(compressor, few, codec) for few in _batches(shown)])
    findings: list[list[Finding]] = []
    for few in _batches(range(len(shown))):
        findings += compressor.compare(tokens[list(few)], [shown[i] for i in few], probes)
    others = [example for example in examples if example.question not in probes]
    counted, lost = [], []
    for batch in _batches(others):
        questions = [example.question for example in batch]
        mine = [place[id(example.image)] for example in batch]
        told = compressor.answers(tokens[mine], questions)
        seen = compressor.answers_from_images([example.image for example in batch], questions)
        counted += [right(s, example) for s, example in zip(seen, batch, strict=True)]
        lost += [not right(t, example) for t, example in zip(told, batch, strict=True)]
    is_counted = np.array(counted)
    return Asked(
        scores={name: np.array([rate(one) for one in findings]) for name, rate in AGGREGATES.items()},
        image=np.array([place[id(example.image)] for example in others]),
        kind=[example.kind for example in others],
        counted=is_counted,
        lost=np.array(lost) & is_counted,
    )


def auroc(score: Floats, positive: npt.NDArray[np.bool_], weight: Floats | None = None) -> float:
    """The chance that a positive has a lower score than a negative, ties counting half; NaN without both."""
    weight = np.ones(len(score)) if weight is None else weight
    _, rank = np.unique(score, return_inverse=True)
    lows, highs = (np.bincount(rank, weight * mask, rank.max() + 1) for mask in (positive, ~positive))
    above = highs.sum() - highs.cumsum()
    whole = lows.sum() * highs.sum()
    return float((lows * (above + highs / 2)).sum() / whole) if whole else float("nan")


def figures(asked: Asked, seed: int = 0) -> dict[str, Any]:
    """AUROC by definition, over questions and over images, with 95 % intervals; how many losses there were."""
    count = len(next(iter(asked.scores.values())))
    image, lost = asked.image[asked.counted], asked.lost[asked.counted]
    losses, among = np.bincount(image, lost, count), np.bincount(image, minlength=count)
    seen = among > 0
    rates = asked.scores | {CEILING: 1 - losses / np.maximum(among, 1)}
    rng = np.random.default_rng(seed)
    draws = [
        np.bincount(rng.integers(count, size=count), minlength=count).astype(float) for _ in range(DRAWS)
    ]
    table = {}
    for name, score in rates.items():
        pairs = [auroc(score[image], lost, draw[image]) for draw in draws]
        whole = [auroc(score[seen], (losses > 0)[seen], draw[seen]) for draw in draws]
        table[name] = {
            "questions": auroc(score[image], lost),
            "questions_interval": np.nanpercentile(pairs, [2.5, 97.5]).tolist(),
            "images": auroc(score[seen], (losses > 0)[seen]),
            "images_interval": np.nanpercentile(whole, [2.5, 97.5]).tolist(),
        }
    return {
        "images": count,
        "questions": int(asked.counted.sum()),
        "losses": int(lost.sum()),
        "images_with_losses": int((losses > 0).sum()),
        "auroc": table,
        "by_kind": _by_kind(asked),
        "mean_fidelity": float(asked.scores[CHOSEN].mean()),
    }


def _by_kind(asked: Asked) -> dict[str, Any]:
    kinds = np.array(asked.kind)
    told = {}
    for kind in sorted(set(asked.kind)):
        mine = asked.counted & (kinds == kind)
        rate = auroc(asked.scores[CHOSEN][asked.image[mine]], asked.lost[mine])
        told[kind] = {"questions": int(mine.sum()), "losses": int(asked.lost[mine].sum()), "auroc": rate}
    return told


def _stored(compressor: Fwd2BotCompressor, images: Sequence[Prepared], codec: CodecName) -> npt.NDArray[Any]:
    return codecs.as_stored(compressor.compress(images).tokens, compressor.spec, codec)


def _batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def plot(found: dict[str, tuple[dict[str, Any], Asked]], path: Path) -> None:
    """Left: how losses and other answers part as the threshold falls; right: losses by fidelity."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    parting, share = figure.subplots(1, 2)
    for name, (told, asked) in found.items():
        mine, lost = asked.image[asked.counted], asked.lost[asked.counted]
        if not lost.any():
            continue
        score = asked.scores[CHOSEN][mine]
        order = np.argsort(score, kind="stable")
        caught = np.concatenate([[0], np.cumsum(lost[order]) / lost.sum()])
        false = np.concatenate([[0], np.cumsum(~lost[order]) / (~lost).sum()])
        rate = told["auroc"][CHOSEN]
        parting.plot(
            false, caught, label=f"{name}: {rate['questions']:.3f} (images {rate['images']:.3f})", lw=1.4
        )
        tenths = np.array_split(order, 10)
        share.plot([score[t].mean() for t in tenths], [lost[t].mean() for t in tenths], "o-", label=name)
    parting.plot([0, 1], [0, 1], "--", color="gray", lw=0.8)
    parting.set(xlabel="answers that stayed right, among the lowest", ylabel="losses among the lowest")
    parting.set_title("AUROC of fidelity, questions that are no probes")
    share.set(xlabel="fidelity (mean of each tenth)", ylabel="share of losses")
    for axes in (parting, share):
        axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def tell(name: str, told: dict[str, Any]) -> None:
    print(
        f"\n{name}: {told['losses']:,} losses among {told['questions']:,} answers that are right from the image, in "
        f"{told['images_with_losses']:,} of {told['images']:,} images; mean fidelity {told['mean_fidelity']:.3f}"
    )
    print(f"  {'score':<38} {'over questions':<24} over images")
    for score, rate in told["auroc"].items():
        cells = []
        for unit in ("questions", "images"):
            low, high = rate[f"{unit}_interval"]
            cells.append(f"{rate[unit]:.3f} ({low:.3f} to {high:.3f})")
        print(f"  {score + (' *' if score == CHOSEN else ''):<38} {cells[0]:<24} {cells[1]}")
    for kind, row in told["by_kind"].items():
        print(f"    {kind}: {row['losses']} of {row['questions']}, AUROC {row['auroc']:.3f}")


@app.default
def main(
    *,
    bundle: str = "nano",
    images: int = 1500,
    k: Annotated[list[int] | None, Parameter(help="Lengths [default: all that the bundle serves].")] = None,
    probes: Annotated[list[str] | None, Parameter(help="Instead of the bundle's own.")] = None,
    codec: CodecName = "exact",
    seed: int = 4,
    out: Path = Path("docs/evidence"),
) -> None:
    """Ask, print, write."""
    whole = load_bundle(bundle)
    serves = k or sorted({whole.method.k, *whole.method.trained_k})
    examples = examination(whole, images, seed)
    asked = tuple(probes or whole.fidelity_probes)
    found: dict[str, tuple[dict[str, Any], Asked]] = {}
    for length in serves:
        answers = ask(whole.at(View(k=length)), examples, asked, codec)
        found[f"k = {length}"] = (figures(answers), answers)
        tell(f"k = {length}", found[f"k = {length}"][0])
    result = {
        "bundle": whole.spec.fingerprint,
        "codec": codec,
        "probes": list(asked),
        "chosen": CHOSEN,
        "seed": seed,
        "machine": machine.describe(),
        "results": {name: told for name, (told, _) in found.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1).replace("NaN", "null")  # where a kind has no losses
    (out / "fidelity_auroc.json").write_text(text + "\n")
    plot(found, out / "fidelity_auroc.svg")


if __name__ == "__main__":
    app()

"""From a trained network to the bundle that ships: saved, examined, described, sealed.

Knows the bundle, the exam and how to say what came of it. Knows nothing of training itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.double_forward import DoubleForward
from fwd2bot_core.compressor.evaluation import accuracy, recall_at_1
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.nano import card, design, exam, samples
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.compressor.training import curves
from fwd2bot_core.compressor.training.loop import Progress, Recipe

PROBES = ("describe .", "what is in the top left ?", "how many items ?", "is there a bag ?")


def publish(
    net: DoubleForward, stages: Mapping[Recipe, Progress], out: Path, origin: Mapping[str, Any]
) -> None:
    """Write the whole bundle to ``out``, figures and model card included."""
    fingerprint = bundle.save_bundle(out, net, design.tokenizer(), design.METHOD)
    bundle.add_files(out, {bundle.PROBES: probes(bundle.load_bundle(out))})
    compressor = bundle.load_bundle(out)
    figures = {"fingerprint": fingerprint, "origin": dict(origin), **measure(compressor)}
    figures["stages"] = {
        recipe.name: {
            "batch": recipe.batch,
            "steps": p.step,
            "of": recipe.steps,
            "seconds": round(p.seconds),
            "limit": recipe.minutes * 60,
        }
        for recipe, p in stages.items()
    }
    documents = {
        "evaluation.json": manifest.canonical(figures),
        "loss.svg": curves.plot({recipe.name: progress.history for recipe, progress in stages.items()}),
        "MODEL_CARD.md": card.text(figures, compressor.spec, **_sizes()).encode(),
    }
    bundle.add_files(out, documents)
    print(documents["MODEL_CARD.md"].decode(), flush=True)


def _sizes() -> dict[str, int]:
    words = design.tokenizer().get_vocab_size() - len(design.SPECIAL)
    return {"visual": design.VISUAL, "rank": design.METHOD.rank, "words": words}


def measure(compressor: Fwd2BotCompressor) -> dict[str, Any]:
    """The figures of the card, on held-out pictures."""
    held_out = exam.held_out()
    table = accuracy(compressor, held_out.examples)
    few = slice(0, exam.SEARCHED)
    return {
        "accuracy": {kind: asdict(row) | {"interval": row.interval} for kind, row in table.items()},
        "recall_at_1": recall_at_1(compressor, held_out.images[few], held_out.captions[few]),
        "recall_among": exam.SEARCHED,
        "recall_chance": 1 / exam.SEARCHED,
        "trays": exam.EXAM_TRAYS,
    }


def probes(compressor: Fwd2BotCompressor) -> bytes:
    """Eight tiny pictures with a question each, and what this compressor says of them."""
    made = []
    for index in range(8):
        with Image.open(BytesIO(samples.picture(index, seed=exam.SEED))) as picture:
            small = BytesIO()
            picture.resize((128, 128)).save(small, "JPEG", quality=90)
        made.append(Probe.make(compressor, small.getvalue(), PROBES[index % len(PROBES)]).as_json())
    return manifest.canonical({"probes": made})

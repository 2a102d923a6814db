"""From a trained network to the bundle that ships: saved, examined, described, sealed.

In two steps, since saving takes seconds and measuring minutes: ``save`` writes a bundle whose card says that nothing is
measured yet, ``describe`` puts figures into it. Knows the bundle and how to say what came of it. Knows nothing of
training itself, nor of how figures are found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from fwd2bot_core.compressor import bundle, manifest, weights
from fwd2bot_core.compressor.double_forward import DoubleForward
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.nano import card, design, exam, figures, goals, plots, samples
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.compressor.training import curves
from fwd2bot_core.compressor.training.loop import Progress, Recipe

EVALUATION, CARD, LOSS = "evaluation.json", "MODEL_CARD.md", "loss.svg"
PROBE_SIDE = 128  # pixels of a probe's picture
PROBES = (
    "what is in a1?",
    "describe b2.",
    "what is the lot?",
    "how many items?",
    "what lies at the top?",
    "is anything red?",
    "where is the bag?",
    "what is left of c3?",
)
# What fidelity is judged by: each compartment whole, then every other sort of fact once.
FIDELITY = (
    *(f"{said}." for said in ("describe a1", "describe b2", "describe c3")),
    "what is in a3?",
    "what is in c1?",
    "what is the lot?",
    "how many items?",
    "what lies at the top?",
    "what lies at the middle?",
    "what lies at the bottom?",
    "what is above b2?",
    "is anything red?",
    "is there a bag?",
    "where is the boot?",
)


def publish(
    net: DoubleForward, stages: Mapping[Recipe, Progress], out: Path, origin: Mapping[str, Any]
) -> None:
    """Write the whole bundle to ``out``, figures and model card included."""
    save(net, stages, out, origin)
    describe(out, figures.measure(bundle.load_bundle(out), figures.Counts()), seal=True)


def save(net: DoubleForward, stages: Mapping[Recipe, Progress], out: Path, origin: Mapping[str, Any]) -> str:
    """Write a bundle that answers, is probed and says where it comes from; returns its fingerprint."""
    weights.round_to_half(net.lvlm.base)
    fingerprint = bundle.save_bundle(out, net, design.tokenizer(), design.METHOD)
    made = bundle.load_bundle(out)
    histories = {recipe.name: progress.history for recipe, progress in stages.items()}
    bundle.add_files(out, {bundle.PROBES: probes(made), LOSS: curves.plot(histories)})
    told = {
        recipe.name: {
            "batch": recipe.batch,
            "steps": progress.step,
            "of": recipe.steps,
            "seconds": round(progress.seconds),
            "limit": round(recipe.minutes * 60),
        }
        for recipe, progress in stages.items()
    }
    _write(out, {"fingerprint": fingerprint, "origin": dict(origin), "stages": told}, None, seal=True)
    return fingerprint


def describe(
    folder: Path, measured: Mapping[str, Any], *, out: Path | None = None, seal: bool = False
) -> None:
    """Figures, card and plots of the bundle in ``folder``: into ``out``, beside the table of goals alone, and with
    ``seal`` into the bundle. Where it comes from is kept as the bundle says it."""
    kept = json.loads(manifest.content(folder, manifest.read(folder), EVALUATION))
    _write(folder, figures.whole(kept, measured), out, seal=seal)


def _write(folder: Path, told: dict[str, Any], out: Path | None, *, seal: bool) -> None:
    table = goals.rows(told)
    told["goals"] = goals.as_json(table)
    files = {
        EVALUATION: manifest.canonical(told),
        CARD: card.text(told, bundle.read_spec(folder), table).encode(),
        **plots.all_of(told),
    }
    if seal:
        bundle.add_files(folder, files)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in {**files, "nano.md": f"{goals.markdown(table)}\n".encode()}.items():
            (out / name).write_bytes(content)
    print(goals.markdown(table), flush=True)


def probes(compressor: Fwd2BotCompressor) -> bytes:
    """Eight tiny pictures with a question each, and what this compressor says of them; what fidelity is judged by."""
    made = []
    for index, question in enumerate(PROBES):
        with Image.open(BytesIO(samples.picture(index, seed=exam.SEED))) as picture:
            small = BytesIO()
            picture.resize((PROBE_SIDE, PROBE_SIDE)).save(small, "JPEG", quality=90)
        made.append(Probe.make(compressor, small.getvalue(), question).as_json())
    return manifest.canonical({"probes": made, "fidelity_probes": list(FIDELITY)})

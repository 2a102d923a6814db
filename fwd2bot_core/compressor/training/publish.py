"""From a trained network to a bundle: saved, probed, examined, described, sealed, and put in its place at once.

Knows bundles and what a run can tell of itself. Knows nothing of how it was trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.probes import Probe
from fwd2bot_core.compressor.training import card, curves
from fwd2bot_core.compressor.training.dataset import Item
from fwd2bot_core.compressor.training.examination import Told, examine
from fwd2bot_core.compressor.training.images import Images
from fwd2bot_core.errors import ImageRejected

PROBES = 8
SIDE = 128  # pixels of a probe's longer side: enough to notice a change, too few to keep a photo


def publish(
    trained: Fwd2BotCompressor,
    folder: Path,
    *,
    held_out: Sequence[Item],
    images: Images,
    about: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    limit: int,
    told: Told,
) -> dict[str, Any]:
    """Write the bundle to ``folder``, replacing one that is there; returns its figures."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    bundle.save_bundle(partial, trained.net, trained.tokenizer, trained.method)
    made = bundle.load_bundle(partial, device=str(trained.net.summary_tokens.device))
    probed: dict[str, Any] = {"probes": _probes(made, held_out)}
    if trained.fidelity_probes:
        probed["fidelity_probes"] = list(trained.fidelity_probes)
    bundle.add_files(partial, {bundle.PROBES: manifest.canonical(probed)})
    figures = {"fingerprint": made.spec.fingerprint, **about}
    if held_out:
        figures |= examine(made.at(trained.view), held_out, images, limit=limit, told=told)
    documents = {
        "evaluation.json": manifest.canonical(figures),
        "loss.svg": curves.plot({trained.method.name: history}),
        "MODEL_CARD.md": card.text(figures, made.method, made.spec).encode(),
    }
    bundle.add_files(partial, documents)
    put_in_place(partial, folder)
    return figures


def put_in_place(partial: Path, folder: Path) -> None:
    """Rename ``partial`` to ``folder``, where an earlier bundle may lie. Whenever the process is killed, one of both
    lies whole in ``folder``, or the earlier one in ``folder``.before, from where the next call takes it back."""
    before = folder.with_name(folder.name + ".before")
    if not folder.exists() and before.exists():
        before.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    partial.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def _probes(made: Fwd2BotCompressor, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Small copies of the first held-out images that can be read, each with its first question."""
    found: list[dict[str, Any]] = []
    for item in items:
        if len(found) == PROBES:
            break
        if item.questions and (small := _small(item.path)):
            found.append(Probe.make(made, small, item.questions[0].text).as_json())
    return found


def _small(path: Path) -> bytes | None:
    try:
        image = decode(path.read_bytes(), DecodeLimits(), target=(SIDE, SIDE)).image
    except (ImageRejected, OSError):
        return None
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    written = BytesIO()
    image.save(written, "JPEG", quality=90)
    return written.getvalue()

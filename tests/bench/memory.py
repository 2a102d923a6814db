"""Peak memory of compressing and of training, per batch size: ``python -m tests.bench.memory``.

Each point is a process of its own, which loads the model, does one thing a few times and says the most memory that
it ever held. *compress*: ``compress`` of one micro-batch. *train*: forward and backward of both losses in one graph,
with AdamW, without chunks or checkpointing (which bound it, at a price in time).
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import torch
from torch.nn import functional as F

from fwd2bot_core.compressor import losses
from fwd2bot_core.compressor.double_forward import DoubleForward, pool
from fwd2bot_core.compressor.lvlm import Stage
from tests.bench import evidence, shapes, speed_plots, tables
from tests.bench.arguments import OUT, Out, Sizes

app = cyclopts.App(name="memory", help=__doc__)
WORDS = 24  # of a question with its answer, and of a caption
COLUMNS = {
    "use": "use",
    "batch": "batch",
    "peak MB": "peak_mb",
    "loaded MB": "loaded_mb",
    "above loaded, MB": "above_mb",
    "MB an image": "above_mb_an_image",
}


def compress(net: DoubleForward, batch: int) -> None:
    """What a night asks of a model."""
    with torch.inference_mode():
        net.summarise(net.visual(_pixels(net, batch)))


def train(net: DoubleForward, batch: int) -> None:
    """One step over ``batch`` images, each with one question and one caption of ``WORDS`` ids."""
    learn = list(net.own_parameters().values())
    for parameter in learn:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(learn, lr=1e-5)
    with torch.no_grad():
        visual = net.visual(_pixels(net, batch))
    tokens = net.summarise(visual)  # [B, k, d]
    ids = torch.ones(batch, WORDS, dtype=torch.long, device=tokens.device)
    states = net.lvlm.hidden(Stage.ANSWER, net.question(tokens, ids))[:, -WORDS:]
    told = losses.contrastive(
        pool(tokens),
        pool(net.summarise_text(ids)),
        temperature=0.07,
        captions=torch.arange(batch, device=ids.device),
    )
    said = F.cross_entropy(net.lvlm.logits(states).flatten(0, 1).float(), ids.flatten())
    (said + told).backward()
    optimizer.step()


USES = {"compress": compress, "train": train}


def _pixels(net: DoubleForward, batch: int) -> torch.Tensor:
    side, device = net.lvlm.base.config.vision_config.image_size, net.summary_tokens.device
    return torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device)


def alone(model: str, use: str, batch: int) -> dict[str, Any]:
    """One row of the table, measured in a fresh process on the CPU."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_measure, (model, use, batch))


def _measure(model: str, use: str, batch: int) -> dict[str, Any]:
    net = load(model, merged=use == "compress")
    loaded = resident("VmRSS")
    for _ in range(3):
        USES[use](net, batch)
    return row(use, batch, loaded, resident("VmHWM"))


def row(use: str, batch: int, loaded: float, peak: float) -> dict[str, Any]:
    """One row of the table, of megabytes."""
    above = peak - loaded
    return {
        "use": use,
        "batch": batch,
        "peak_mb": round(peak),
        "loaded_mb": round(loaded),
        "above_mb": round(above),
        "above_mb_an_image": round(above / batch, 2),
    }


def load(model: str, *, merged: bool) -> DoubleForward:
    """A shape or a bundle; with its pairs beside the weights, as training has them, unless ``merged``."""
    if shape := shapes.SHAPES.get(model):
        made = shapes.net(shape)
        return shapes.without_pairs(made) if merged else made
    if merged:
        return shapes.of_bundle(model, None).net
    from fwd2bot_core.compressor.bundle import load_bundle

    return load_bundle(model, trainable=True).net


def resident(name: str) -> float:
    """Megabytes of this process: VmRSS now, VmHWM at most. (getrusage also counts what the parent once held.)"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1e3
    raise SystemExit("this system does not say how much memory a process holds: measure on Linux")


@app.default
def main(
    *,
    model: Annotated[str, cyclopts.Parameter(help="A bundle, or a shape of tests.bench.shapes.")] = "nano",
    compress: Sizes = (1, 8, 32, 128),
    train: Sizes = (8, 32, 64),
    out: Out = OUT,
) -> int:
    """Measure each point, print one table, write JSON and a plot."""
    before = evidence.begin()
    wanted = {"compress": compress, "train": train}
    rows = [alone(model, use, size) for use, sizes in wanted.items() for size in sizes]
    tables.show(f"memory of one process, {Path(model).name}", rows, COLUMNS)
    result = evidence.write(out / "memory.json", before, {"model": Path(model).name, "rows": rows})
    speed_plots.memory(result, out / "memory.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(app())

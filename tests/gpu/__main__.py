"""One command for whoever has a GPU: ``python -m tests.gpu`` measures, prints the tables and writes gpu.json."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts
import torch

from tests.bench import evidence, shapes
from tests.bench.arguments import OUT, Out, Rounds, Sizes
from tests.gpu import table

app = cyclopts.App(name="gpu", help=__doc__)


def device() -> dict[str, Any]:
    """The card and what drives it. Raises ``SystemExit`` where there is none."""
    if not torch.cuda.is_available():
        raise SystemExit(
            f"torch {torch.__version__} finds no CUDA device on this machine: nothing to measure"
        )
    card = torch.cuda.get_device_properties(0)
    return {
        "name": card.name,
        "memory_gib": round(card.total_memory / 2**30, 1),
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


@app.default
def main(
    *,
    shape: Annotated[str, cyclopts.Parameter(help="One of tests.bench.shapes.")] = "llava-1.5-7b",
    batch: Sizes = (1, 8, 32),
    train: Sizes = (1, 4, 8),
    rounds: Rounds = 5,
    compiled: bool = True,
    out: Out = OUT,
) -> int:
    """Measure everything on the first CUDA device; ``--no-compiled``: but for torch.compile, which takes most of the
    time."""
    card, before = device(), evidence.begin()
    plan = table.Plan(
        shape=shapes.SHAPES[shape],
        batches=batch,
        train=train,
        rounds=rounds,
        compile_options=None if compiled else {},
    )
    found = table.everything(plan)
    table.show(found, f"{shape}, {str(plan.dtype).removeprefix('torch.')}, {card['name']}")
    evidence.write(out / "gpu.json", before, {"device": card, "shape": shape, "rounds": rounds, **found})
    return 0


if __name__ == "__main__":
    raise SystemExit(app())

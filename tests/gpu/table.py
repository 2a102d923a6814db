"""All tables for one model shape on one device: pass 1, the first word, memory.

The same functions at a tiny shape on the CPU are what the smoke test runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fwd2bot_core.compressor.double_forward import DoubleForward
from tests.bench import first_word, memory, pass1, photos, shapes, tables
from tests.bench.shapes import Shape
from tests.gpu import ways

PASS1_COLUMNS = {
    "batch": "batch",
    "way": "way",
    "plain ms": "plain_ms",
    "ms": "ms",
    "times faster": "times_faster",
    "states apart": "states_apart",
    "failed": "failed",
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure, and where."""

    shape: Shape
    device: str = "cuda"
    dtype: torch.dtype = torch.bfloat16
    batches: Sequence[int] = (1, 8, 32)
    train: Sequence[int] = (1, 4, 8)
    rounds: int = 5
    images: int = 64
    compile_options: dict[str, dict[str, Any]] | None = None  # None: those of a CUDA device

    def net(self) -> DoubleForward:
        return shapes.net(self.shape, device=self.device, dtype=self.dtype)


def everything(plan: Plan) -> dict[str, Rows]:
    """All figures. The pairs lie beside the weights in training and are left out elsewhere, as in a merged bundle."""
    made = plan.net()
    found: dict[str, Rows] = {"train": training(plan, made)}
    found["pairs"] = [pairs_beside(plan, made, batch) for batch in plan.batches]
    shapes.without_pairs(made)
    found["compress"] = [
        {"use": "compress", "batch": batch} | ways.attempt(lambda batch=batch: peak(made, "compress", batch))  # type: ignore[misc]
        for batch in plan.batches
    ]
    found["first_word"] = words(plan, made)
    found["pass1"] = [row for batch in plan.batches for row in passes(plan, made, batch)]
    return found


def passes(plan: Plan, made: DoubleForward, batch: int) -> Rows:
    """Each way of pass 1 against the plain forward."""
    options = ways.COMPILED if plan.compile_options is None else plan.compile_options
    found = pass1.ways(made, batch, plan.shape.k)
    plain, backbone, ours = (found[name] for name in ("plain", "backbone", "ours"))
    return [
        {"batch": batch, "way": name}
        | ways.attempt(lambda make=make: ways.against_plain(plain, make, plan.rounds))  # type: ignore[misc]
        for name, make in ways.makers(plain, backbone, ours, options)
    ]


def pairs_beside(plan: Plan, made: DoubleForward, batch: int) -> dict[str, Any]:
    """Ours with pairs that are not merged, against the plain forward over the same."""
    found = pass1.ways(made, batch, plan.shape.k)
    name = {"batch": batch, "way": "ours, pairs not merged"}
    return name | ways.attempt(lambda: ways.against_plain(found["plain"], lambda: found["ours"], plan.rounds))


def words(plan: Plan, made: DoubleForward) -> Rows:
    """Time to the first word, from tokens in a real shard and from photos."""
    root, keys = photos.lay_out(plan.images)
    compressor = shapes.of_shape(made, plan.shape)
    with tempfile.TemporaryDirectory(prefix="fwd2bot-gpu-") as folder:
        stand = first_word.Stand(compressor, [root / key for key in keys], Path(folder))
        return [
            {"batch": batch} | ways.attempt(lambda batch=batch: stand.measure(batch, plan.rounds))  # type: ignore[misc]
            for batch in plan.batches
        ]


def training(plan: Plan, made: DoubleForward) -> Rows:
    """Peak memory of a training step, plain and with every layer computed again in the backward pass."""
    rows = []
    for use, checkpointed in (("train", False), ("train, checkpointed", True)):
        for view in made.lvlm.views.values():
            view.train(checkpointed)
            if checkpointed:
                view.activation_checkpointing_enable()
        for batch in plan.train:
            row = ways.attempt(lambda batch=batch: peak(made, "train", batch))  # type: ignore[misc]
            rows.append({**row, "use": use, "batch": batch})
            made.zero_grad(set_to_none=True)
    for view in made.lvlm.views.values():
        view.activation_checkpointing_disable()
    made.requires_grad_(False).eval()
    return rows


def peak(made: DoubleForward, use: str, batch: int) -> dict[str, Any]:
    """The most memory that tensors held on the device, in MB; on a CPU the process's own, which never falls."""
    if made.summary_tokens.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        loaded = torch.cuda.memory_allocated() / 1e6
        memory.USES[use](made, batch)
        return memory.row(use, batch, loaded, torch.cuda.max_memory_allocated() / 1e6)
    loaded = memory.resident("VmRSS")
    memory.USES[use](made, batch)
    return memory.row(use, batch, loaded, memory.resident("VmHWM"))


def show(found: dict[str, Rows], what: str) -> None:
    """Print the tables for people."""
    tables.show(f"pass 1 against a plain forward, {what}", [*found["pass1"], *found["pairs"]], PASS1_COLUMNS)
    tables.show(
        f"time to the first word, {what}", found["first_word"], first_word.COLUMNS | {"failed": "failed"}
    )
    tables.show(
        f"memory, {what}", [*found["compress"], *found["train"]], memory.COLUMNS | {"failed": "failed"}
    )

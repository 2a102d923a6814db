"""Pass 1 against a plain ``transformers`` forward of the same model and inputs: ``python -m tests.bench.pass1``.

plain     the LLaVA class called as its documentation shows, in inference mode and without a cache: pixels and
          embeddings of prompt and summary tokens in, logits and hidden states out
backbone  the same without logits
ours      what a night runs: no logits, and the last layer only at the summary tokens

compiled  ours through torch.compile, which asks for a C++ compiler and half a minute (only with --compiled)

All read the same pixels and must give the same k states. They run in turns; the ratios are what counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import torch

from fwd2bot_core.compressor.double_forward import DoubleForward
from fwd2bot_core.compressor.lvlm import Stage
from tests.bench import evidence, shapes, speed_plots, tables
from tests.bench.arguments import OUT, Names, Out, Rounds, Sizes
from tests.bench.turns import idle, in_turns, milliseconds, times_faster

app = cyclopts.App(name="pass1", help=__doc__)
COLUMNS = {
    "model": "model",
    "words": "vocabulary",
    "k": "k",
    "batch": "batch",
    "rounds": "rounds",
    "plain ms": "plain_ms",
    "backbone ms": "backbone_ms",
    "ours ms": "ours_ms",
    "compiled ms": "compiled_ms",
    "no logits": "no_logits",
    "last layer": "last_layer",
    "times faster": "times_faster",
    "states apart": "states_apart",
}
Way = Callable[[], torch.Tensor]
CLOSE = {torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.05}  # of the states' own length


def ways(net: DoubleForward, batch: int, k: int) -> dict[str, Way]:
    """Each gives states [B, k, d] of the same random pixels; the plain one through the class's own forward."""
    device, side = net.summary_tokens.device, net.lvlm.base.config.vision_config.image_size
    dice = torch.Generator().manual_seed(batch)
    pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, generator=dice).to(device)
    model = plain_model(net)
    options: dict[str, Any] = {"inputs_embeds": embeddings(net, pixels, k), "use_cache": False}

    def plain() -> torch.Tensor:
        said = model(pixel_values=net.normalised(pixels), output_hidden_states=True, **options)
        states: torch.Tensor = said.hidden_states[-1][:, -k:]
        return states

    def backbone() -> torch.Tensor:
        states: torch.Tensor = model.model(pixel_values=net.normalised(pixels), **options).last_hidden_state
        return states[:, -k:]

    return {"plain": plain, "backbone": backbone, "ours": lambda: net.summarise(net.visual(pixels), k)}


def plain_model(net: DoubleForward) -> Any:
    """The model as ``transformers`` has it, with pass 1's view as its language model; no weight is copied."""
    shared = {id(p): p for p in net.lvlm.base.parameters()}
    made = copy.deepcopy(net.lvlm.base, memo=dict(shared))
    made.model.language_model = net.lvlm.views[Stage.COMPRESS.value]
    return made


def embeddings(net: DoubleForward, pixels: torch.Tensor, k: int) -> torch.Tensor:
    """[B, L, d]: opening, the image's placeholders, prompt, summary tokens."""
    with torch.inference_mode():
        shown = net.visual(pixels[:1]).shape[1]
        ids = torch.full((shown,), net.lvlm.base.config.image_token_id, device=pixels.device)
        words = net.lvlm.embed(torch.cat([net.before, ids, net.prompt]))
        return torch.cat([words, net.summary_tokens[:k]]).expand(len(pixels), -1, -1).clone()


def compiled(way: Way, **options: Any) -> Way:
    """``way`` through ``torch.compile``, for the shapes that it is called with."""
    faster: Way = torch.compile(way, dynamic=False, **options)
    return faster


def distance(states: torch.Tensor, expected: torch.Tensor) -> float:
    """How far apart, over the length of what was expected. Raises ``AssertionError`` beyond rounding."""
    apart = float((states - expected).float().norm() / expected.float().norm())
    assert apart <= CLOSE[expected.dtype], f"the states differ by {apart:.2g} of their length"
    return float(f"{apart:.2g}")


@torch.inference_mode()
def measure(found: dict[str, Way], rounds: int) -> dict[str, Any]:
    """The figures of one row of the table. Raises ``AssertionError`` when the states of two ways differ."""
    expected = found["plain"]()
    apart = {name: distance(way(), expected) for name, way in found.items()}
    taken = in_turns(found, rounds, settle=torch.cuda.synchronize if expected.is_cuda else idle)
    return {
        "k": expected.shape[1],
        "batch": len(expected),
        "rounds": len(taken["plain"]),
        **{f"{name}_ms": milliseconds(taken[name]) for name in found},
        "no_logits": times_faster(taken, "plain", "backbone"),
        "last_layer": times_faster(taken, "backbone", "ours"),
        "times_faster": times_faster(taken, "plain", "ours"),
        "states_apart": apart["ours"],
    }


@app.default
def main(
    *,
    bundle: Annotated[str, cyclopts.Parameter(help="A bundle to measure too; '' for none.")] = "nano",
    k: Annotated[int | None, cyclopts.Parameter(help=shapes.K)] = None,
    shape: Names = ("small-32k", "medium-32k"),
    batch: Sizes = (1, 8, 32),
    rounds: Rounds = 7,
    with_compiled: Annotated[bool, cyclopts.Parameter(name="--compiled")] = False,
    goal: Annotated[float, cyclopts.Parameter(help="For vocabularies of 32,000 and more.")] = 1.5,
    out: Out = OUT,
) -> int:
    """Measure, print one table, write JSON and a plot. Exit code 1 when a median misses the goal."""
    before = evidence.begin()
    rows = []
    for name in [*([bundle] if bundle else []), *shape]:
        net, tokens = _net(name, k)
        said = {"model": Path(name).name, "vocabulary": net.lvlm.base.config.text_config.vocab_size}
        for size in batch:
            found = ways(net, size, tokens)
            if with_compiled:
                found["compiled"] = compiled(found["ours"])
            rows.append(said | measure(found, rounds))
            print(f"{said['model']}, batch {size}: {rows[-1]['times_faster']} times faster", flush=True)
    tables.show(f"pass 1: medians; goal {goal} from a vocabulary of 32,000 on", rows, COLUMNS)
    result = evidence.write(out / "pass1.json", before, {"goal": goal, "rows": rows})
    speed_plots.pass1(result, out / "pass1.svg")
    return int(any(row["times_faster"] < goal for row in rows if row["vocabulary"] >= 32_000))


def _net(name: str, k: int | None) -> tuple[DoubleForward, int]:
    if shape := shapes.SHAPES.get(name):
        return shapes.without_pairs(shapes.net(shape)), shape.k
    compressor = shapes.of_bundle(name, k)
    return compressor.net, compressor.spec.k


if __name__ == "__main__":
    raise SystemExit(app())

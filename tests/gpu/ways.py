"""Ways to run pass 1 on a device: attention kernels, ``torch.compile``, CUDA graphs; each against the plain forward.

A way that a machine, a driver or a version cannot go is a row that says why, and the others go on.
Knows torch's switches. Knows nothing of shapes or tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.bench.pass1 import Way, compiled, distance
from tests.bench.turns import idle, in_turns, milliseconds, times_faster

# The last layer's k positions have a mask, which flash and cuDNN kernels may not take: they fall through.
KERNELS = {
    "flash": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "cudnn": [SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "math": [SDPBackend.MATH],
}
COMPILED: dict[str, dict[str, Any]] = {
    "compiled": {},
    "compiled, CUDA graphs": {"mode": "reduce-overhead"},
}


def under(kernels: list[SDPBackend], way: Way) -> Way:
    """``way`` with the first of ``kernels`` that takes each call."""

    def run() -> torch.Tensor:
        with sdpa_kernel(kernels, set_priority=True):
            return way()

    return run


def captured(way: Way) -> Way:
    """``way`` recorded once as a CUDA graph, and replayed: no work for Python or the launcher any more."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            way()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        states = way()

    def run() -> torch.Tensor:
        graph.replay()
        return states

    return run


def makers(
    plain: Way, backbone: Way, ours: Way, options: Mapping[str, Mapping[str, Any]] = COMPILED
) -> Iterator[tuple[str, Callable[[], Way]]]:
    """Every way by name, made when it is its turn: making one may fail, or take a minute.

    ``options`` are those of ``torch.compile``, by name.
    """
    yield "backbone, no logits", lambda: backbone
    yield "ours", lambda: ours
    for name, kernels in KERNELS.items():
        yield f"plain, {name}", lambda kernels=kernels: under(kernels, plain)  # type: ignore[misc]
        yield f"ours, {name}", lambda kernels=kernels: under(kernels, ours)  # type: ignore[misc]
    for name, chosen in options.items():
        yield f"plain, {name}", lambda chosen=chosen: compiled(plain, **chosen)  # type: ignore[misc]
        yield f"ours, {name}", lambda chosen=chosen: compiled(ours, **chosen)  # type: ignore[misc]
    yield (
        "ours, captured CUDA graph",
        lambda: captured(ours),
    )  # last: a failed capture may leave the device unusable


@torch.inference_mode()
def against_plain(plain: Way, make: Callable[[], Way], rounds: int) -> dict[str, Any]:
    """Milliseconds, how many times faster than ``plain``, and how far apart the states are."""
    expected = plain()
    way = make()
    apart = distance(way(), expected)
    settle = torch.cuda.synchronize if expected.is_cuda else idle
    taken = in_turns({"plain": plain, "way": way}, rounds, settle=settle)
    return {
        "plain_ms": milliseconds(taken["plain"]),
        "ms": milliseconds(taken["way"]),
        "times_faster": times_faster(taken, "plain", "way"),
        "states_apart": apart,
    }


def attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``measure`` found, or in one line why it could not."""
    try:
        return measure()
    except Exception as error:  # whatever kernels, compilers and allocators say
        said = str(error).strip().splitlines() or [""]
        return {"failed": f"{type(error).__name__}: {said[0]}"[:160]}
    finally:
        torch._dynamo.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

"""Where to compute: a device by its name, tried before anything is loaded, and its memory when it runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fwd2bot_core.errors import TrainingFailed, UsageError


def tried(name: str) -> str:
    """``name``, once a tensor has been there; raises ``UsageError`` for what is none or not here."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).split("\n")[0]
        raise UsageError(f"device {name!r} cannot be used here ({said}): try cpu") from None
    return name


@contextmanager
def enough_memory() -> Iterator[None]:
    """Inside, running out of a device's memory is told with what to do about it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingFailed(
            "the device has too little memory for a step: lower training.chunk or training.batch, or set "
            "training.gradient_checkpointing = true, and run the same command again"
        ) from None

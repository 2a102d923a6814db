"""The state of a stage as one file: whole or not there, and data when read, never code.

Knows torch's file format. Knows nothing of steps or losses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fwd2bot_core.errors import TrainingFailed


def save(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    progress: Mapping[str, Any],
) -> None:
    """Replace the file at ``path`` in one instant, after the new bytes are on the disk."""
    state = {
        "parameters": {name: p.detach() for name, p in parameters.items()},
        "optimizer": optimizer.state_dict(),
        "progress": dict(progress),
    }
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def resume(
    path: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Fill parameters and optimiser from the file, if there is one; returns the saved progress, else {}.

    Raises ``TrainingFailed`` for a file that is no checkpoint of these parameters.
    """
    if not path.exists():
        return {}
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        saved, progress = state["parameters"], dict(state["progress"])
        if set(saved) != set(parameters):
            odd = sorted(set(saved) ^ set(parameters))[0]
            raise ValueError(f"{odd} is in only one of them")
        with torch.no_grad():
            for name, p in parameters.items():
                if saved[name].shape != p.shape:
                    raise ValueError(f"{name} has another shape")
                p.copy_(saved[name])
        optimizer.load_state_dict(state["optimizer"])
    except Exception as error:  # torch, pickle and zipfile each have words of their own for a bad file
        said = " ".join(str(error).split())[:200]
        raise TrainingFailed(
            f"{path} is no checkpoint of this training ({said}): move it away to begin anew"
        ) from error
    return progress

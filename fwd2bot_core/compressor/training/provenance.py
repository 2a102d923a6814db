"""Where and from what a bundle was made: commit, seed, machine. Knows nothing of the bundle itself."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def record(path: Path, *, seed: int, threads: int) -> dict[str, Any]:
    """What was true when the making began, kept in ``path``, and which commits it was continued with."""
    if not path.exists():
        found = {
            "commit": _commit(),
            "continued_at": [],  # other commits that a stopped making was continued with
            "seed": seed,
            "threads": threads,
            "machine": machine(),
            "python": platform.python_version(),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        path.write_text(json.dumps(found, indent=1))
    kept: dict[str, Any] = json.loads(path.read_text())
    now = _commit()
    if now not in (kept["commit"], *kept["continued_at"]):
        kept["continued_at"].append(now)
        path.write_text(json.dumps(kept, indent=1))
    return kept


def machine() -> str:
    """Cores and accelerators of this machine, in words."""
    import torch

    count = torch.cuda.device_count()
    found = f"{count} x {torch.cuda.get_device_name(0)}" if count else "no accelerator"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), {found}"


def _commit() -> str:
    """The commit of this source tree, with "+" where tracked files differ from it; "unknown" outside git."""
    here = Path(__file__).parents[2]
    git = ("git", "-C", str(here))
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        diff = subprocess.run(
            [*git, "status", "--porcelain", "-uno", str(here)], capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip()[:12] + ("+" if diff.stdout.strip() else "")

"""What every bench writes: its figures beside the machine, the commit and the load before and after.

Knows files. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench import machine

FOLDER = Path("docs/evidence")


def begin() -> dict[str, Any]:
    """The machine as it is before measuring."""
    return machine.describe()


def write(path: Path, before: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """Write ``figures`` with what they were measured on; returns all that was written."""
    after = machine.describe()["load_average"]
    result = {"machine": before, "load_average_after": after, **figures}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result

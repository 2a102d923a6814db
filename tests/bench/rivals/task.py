"""What a rival is asked to do, and the gate at which its processes wait for each other.

A rival is a program of its own, started with one JSON argument. Knows files. Knows nothing of engines or models.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Forward = Literal["ours", "plain"]  # ours, or what a user of ``transformers`` would write
PATIENCE = 120.0  # seconds that one process waits for the others


@dataclass(frozen=True, kw_only=True)
class Task:
    """Compress every photo named in ``keys_file`` into Parquet files under ``out``."""

    bundle: str
    forward: Forward
    root: str
    keys_file: str  # one key a line
    out: str  # an empty folder
    gate: str  # an empty folder
    models: int  # processes that hold a model, with one torch thread each
    micro_batch: int
    setting: str  # one of the rival's own
    token_bytes: int  # of a row's tokens, and
    d: int  # numbers of its vector: for engines that ask for types before they run

    @property
    def keys(self) -> list[str]:
        return Path(self.keys_file).read_text().splitlines()

    def read(self, key: str) -> bytes:
        """The file's bytes."""
        return (Path(self.root) / key).read_bytes()

    def text(self) -> str:
        return json.dumps(asdict(self))


def asked() -> Task:
    """The task of this program."""
    return Task(**json.loads(sys.argv[1]))


def pass_gate(task: Task) -> None:
    """Say that this process is ready, and wait until all are; the last one's arrival is when the clock starts.

    Raises ``TimeoutError`` when an engine starts fewer processes than it was told to.
    """
    folder = Path(task.gate)
    (folder / str(os.getpid())).touch()
    waits_until = time.monotonic() + PATIENCE
    while len(list(folder.iterdir())) < task.models:
        if time.monotonic() > waits_until:
            raise TimeoutError(f"fewer than {task.models} model processes after {PATIENCE:.0f} s")
        time.sleep(0.002)

"""The photos that measurements run over: laid out once in a temporary folder, and found there again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fwd2bot_core.compressor.nano.samples import write_archive

SEED = 20261124


def lay_out(count: int) -> tuple[Path, list[str]]:
    """The root of ``count`` JPEG photos of 384x384 pixels, and their keys."""
    base = Path(tempfile.gettempdir()) / "fwd2bot-bench"
    root, done = base / f"photos-{count}", base / f"photos-{count}.keys"
    if not done.is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        done.write_text("\n".join(write_archive(root, count, seed=SEED)))
    return root, done.read_text().splitlines()

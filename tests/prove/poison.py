"""Photos that kill whoever decodes them, without a line in the product: a patched Pillow, by ``sitecustomize``.

A real one would be a file that crashes a C decoder or eats all memory; for the worker's process both look so.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_MARK = b"fwd2bot-poison"
_HOOK = f"""
import os, signal
from PIL import JpegImagePlugin

_load = JpegImagePlugin.JpegImageFile.load

def load(self):
    if self.info.get("comment") == {_MARK!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return _load(self)

JpegImagePlugin.JpegImageFile.load = load
"""


def set_up(folder: Path) -> dict[str, str]:
    """The environment in which Python processes die of poisoned photos."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(_HOOK)
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))}


def lay_out(photos: Path, keys: list[str], root: Path, poisoned: set[str]) -> None:
    """Copies of ``keys`` under ``root``, some of them with the deadly comment in their JPEG header."""
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(photos / key, path)
        if key in poisoned:
            data = path.read_bytes()
            comment = b"\xff\xfe" + (len(_MARK) + 2).to_bytes(2, "big") + _MARK
            path.write_bytes(data[:2] + comment + data[2:])

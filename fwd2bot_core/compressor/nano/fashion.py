"""Where the item photos come from: the Fashion-MNIST files of the Debian package, for training only.

Knows the IDX file format. Knows nothing of trays, questions or models. Nothing at run time needs this
module: the sample archive draws from the sheet of photos that ships (``samples``).
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fwd2bot_core.errors import UsageError

ROOT = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28  # pixels of one photo


def photos(split: str, root: Path = ROOT) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Photos [N, 28, 28] and their kinds [N] of ``split`` ("train" or "test"), in the file's order.

    Raises ``UsageError`` where the Debian package ``dataset-fashion-mnist`` is not installed.
    """
    stem = {"train": "train", "test": "t10k"}[split]
    try:
        pixels = gzip.decompress((root / f"{stem}-images-idx3-ubyte.gz").read_bytes())
        kinds = gzip.decompress((root / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
    except FileNotFoundError as absent:
        raise UsageError(f"{absent.filename} is missing: apt install dataset-fashion-mnist") from absent
    return (
        np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, SIDE, SIDE),
        np.frombuffer(kinds, np.uint8, offset=8).astype(np.int64),
    )

"""From a decoded picture to the pixels that a vision tower takes, the same for training and for the night.

Knows sizes and grounds. Knows nothing of file formats (``decode``) or of models; imports no torch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image


def fit(image: Image.Image, size: tuple[int, int], mean: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
    """Pixels [3, H, W] of an RGB ``image`` scaled into ``size`` (width, height), whole and undistorted.

    What the picture's aspect leaves over is filled with the ``mean`` colour (RGB in [0, 1]).
    """
    width, height = size
    scale = min(width / image.width, height / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    resized = image if inner == image.size else image.resize(inner, Image.Resampling.BICUBIC)
    if inner != size:
        ground = Image.new("RGB", size, tuple(round(255 * x) for x in mean))
        ground.paste(resized, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        resized = ground
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))

"""From a decoded picture to the pixels that a vision tower takes, the same for training and for the night.

Knows crops, sizes and grounds. Knows nothing of file formats (``decode``) or of models; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from fwd2bot_core.compressor.view import Crop


def cut(image: Image.Image, crops: Sequence[Crop]) -> Iterator[Image.Image]:
    """Each of ``crops`` of an upright ``image``, in order, at the image's own resolution."""
    for crop in crops:
        box = crop.box(*image.size)
        yield image if box == (0, 0, *image.size) else image.crop(box)


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

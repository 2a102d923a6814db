"""Any of Pillow's pixel modes as 8-bit RGB on white.

Knows modes and value ranges. Knows nothing about files, rotation or models. Colour profiles are ignored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fwd2bot_core.compressor.grey import Grey


def to_rgb(
    image: Image.Image, *, grey_bits: int = 16, white_is_zero: bool = False, grey: Grey = "range"
) -> tuple[Image.Image, str]:
    """A new RGB image of the same size, and a note ("" if nothing needs saying).

    Transparency is composited onto white. Grey values of more than 8 bits are scaled by their range:
    mode I;16 by ``grey_bits`` (16 bits: divided by 257); modes I and F, which do not say their range, by the
    smallest of 0..1 (F only), 0..255 (F only) and 0..65535 that holds every value, and otherwise stretched
    from the picture's own minimum and maximum, which the note then gives. With ``grey`` "percentile" they are always
    stretched, from the value that 0.5 % lie below to the one that 0.5 % lie above, both values of the picture: sensors
    that use a part of their range, and single hot pixels. ``white_is_zero`` turns them over.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        made, note = _percentile8(values) if grey == "percentile" else _grey8(values, image.mode, grey_bits)
        return Image.fromarray(255 - made if white_is_zero else made).convert("RGB"), note
    if image.has_transparency_data:
        return _on_white(image), ""
    return image.convert("RGB"), ""


def _on_white(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no direct way to RGBA
    rgba = straight.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _grey8(values: npt.NDArray[Any], mode: str, bits: int) -> tuple[npt.NDArray[np.uint8], str]:
    """[H, W] of any numbers -> [H, W] uint8."""
    if mode.startswith("I;16"):
        table = _scaled(
            np.arange(2**bits), 0.0, float(2**bits - 1)
        )  # one lookup: no floats of a huge picture
        return table[np.minimum(values, 2**bits - 1)], ""
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].min() if finite.any() else 0)
    low, high = float(values.min()), float(values.max())
    for top in (1.0, 255.0, 65535.0) if mode == "F" else (65535.0,):
        if low >= 0 and high <= top:
            return _scaled(values, 0.0, top), ""
    return _scaled(values, low, high), f"grey values stretched from {low:g}..{high:g}"


def _percentile8(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str]:
    """[H, W] of any numbers -> [H, W] uint8. Both ends are numbers that occur, so no rounding differs by machine."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape, np.uint8), "no grey values"
    low = float(np.percentile(finite, 0.5, method="lower"))
    high = float(np.percentile(finite, 99.5, method="higher"))
    known = np.where(np.isfinite(values), values, low)
    return _scaled(known, low, high), f"grey values stretched from {low:g}..{high:g}"


def _scaled(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """``low``..``high`` to 0..255, rounded; a flat picture becomes black."""
    span = high - low or 1.0
    scaled = (values.astype(np.float64) - low) * 255.0 / span + 0.5
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)

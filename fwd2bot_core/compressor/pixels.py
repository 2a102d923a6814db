"""Any of Pillow's pixel modes as 8-bit RGB on white.

Knows modes and value ranges. Knows nothing about files, rotation or models. Colour profiles are ignored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def to_rgb(
    image: Image.Image, *, grey_bits: int = 16, white_is_zero: bool = False
) -> tuple[Image.Image, str]:
    """A new RGB image of the same size, and a note ("" if nothing needs saying).

    Transparency is composited onto white. Grey values of more than 8 bits are scaled by their range:
    mode I;16 by ``grey_bits`` (16 bits: divided by 257); modes I and F, which do not say their range, by the
    smallest of 0..1 (F only), 0..255 (F only) and 0..65535 that holds every value, and otherwise stretched
    from the picture's own minimum and maximum, which the note then gives. ``white_is_zero`` turns them over.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, note = _grey8(np.asarray(image), image.mode, grey_bits)
        return Image.fromarray(255 - grey if white_is_zero else grey).convert("RGB"), note
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


def _scaled(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """``low``..``high`` to 0..255, rounded; a flat picture becomes black."""
    span = high - low or 1.0
    scaled = (values.astype(np.float64) - low) * 255.0 / span + 0.5
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)

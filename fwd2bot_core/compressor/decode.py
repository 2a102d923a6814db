"""Bytes from anywhere into an upright 8-bit RGB picture, or a reason why not.

Knows hostile files: everything that can go wrong with one becomes ``ImageRejected``. Knows nothing about
where the bytes came from or which model wants the picture. Safe to call from many threads.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from fwd2bot_core.compressor.formats import Sniffed, describe, sniff
from fwd2bot_core.compressor.grey import Grey
from fwd2bot_core.compressor.pixels import to_rgb
from fwd2bot_core.errors import ImageRejected, RejectReason

_OPEN = {
    "JPEG": JpegImagePlugin.jpeg_factory,  # also makes the MPO files of stereo cameras readable
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
_BUILT_WITH = {"AVIF": "avif", "WEBP": "webp", "JPEG2000": "jpg_2000"}  # optional in a build of Pillow
_UNSUPPORTED = re.compile("unsupported|not (yet )?supported|unknown pixel mode", re.IGNORECASE)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC = 274, 254, 258, 262  # TIFF and EXIF tags
_SILENCE = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What is refused before any pixel is decoded."""

    max_pixels: int = 100_000_000
    max_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright RGB picture and what the file said about the original."""

    image: Image.Image  # mode RGB; smaller than the original if ``target`` allowed it
    width: int  # of the original, after rotation
    height: int
    format: str  # one of ``formats.READABLE``
    notes: tuple[str, ...] = ()  # what a person should know: first frame of several, values stretched, ...


def decode(
    data: bytes, limits: DecodeLimits, *, target: tuple[int, int] | None = None, grey: Grey = "range"
) -> Decoded:
    """Decode one image file; raises ``ImageRejected`` and nothing else, whatever the bytes are.

    ``target`` (width, height) is what the caller will resize to: a JPEG may then be decoded at 1/2, 1/4 or
    1/8 scale, never below twice the target. ``grey``: as ``pixels.to_rgb`` takes it. The first frame or page
    of several is used, and noted.
    """
    name = _recognised(data, limits)
    _quieten(limits)
    try:
        return _decoded(data, name, limits, target, grey)
    except ImageRejected:
        raise
    except Exception as error:
        if name == "PNG" and (bare := _without_metadata(data)) != data:
            return _second_try(bare, limits, grey, error)
        raise _rejected(name, error) from error


def header(data: bytes, limits: DecodeLimits) -> ImageFile.ImageFile:
    """The file opened, no pixel decoded; raises ``ImageRejected``, and whatever Pillow raises for a broken header."""
    name = _recognised(data, limits)
    _quieten(limits)
    return _OPEN[name](io.BytesIO(data), "")


def _recognised(data: bytes, limits: DecodeLimits) -> str:
    """The format's name, if it is one that we may and can read."""
    if not data:
        raise ImageRejected(RejectReason.EMPTY, "the file has no bytes")
    if len(data) > limits.max_bytes:
        raise ImageRejected(
            RejectReason.TOO_MANY_BYTES, f"{len(data):,} bytes; the limit is {limits.max_bytes:,}"
        )
    found = sniff(data)
    if found is None:
        raise ImageRejected(RejectReason.NOT_AN_IMAGE, f"this is {describe(data)}")
    if found.needs is not None or not _built_with(found):
        package = found.needs or "a Pillow that was built with it"
        raise ImageRejected(
            RejectReason.NO_DECODER,
            f"{found.name} needs a decoder that Fwd2Bot does not use (e.g. {package}); convert it first",
        )
    return found.name


def _built_with(found: Sniffed) -> bool:
    feature = _BUILT_WITH.get(found.name)
    return feature is None or bool(features.check(feature))


def _quieten(limits: DecodeLimits) -> None:
    """Let Pillow decide by results, not by warnings, whatever filters are set; and let our limit rule.

    Not ``catch_warnings``, which is not thread-safe: a filter in front is, and only silences Pillow.
    """
    if not warnings.filters or warnings.filters[0] != _SILENCE:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    if Image.MAX_IMAGE_PIXELS is not None and limits.max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limits.max_pixels


def _decoded(
    data: bytes, name: str, limits: DecodeLimits, target: tuple[int, int] | None, grey: Grey
) -> Decoded:
    with _OPEN[name](io.BytesIO(data), "") as image:
        _refuse_bombs(image.size, limits)
        width, height = image.size
        if name == "TIFF":
            _refuse_thumbnails(image)
        if target is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            image.draft(None, (2 * max(target), 2 * max(target)))
        depth = _grey_range(image)
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        rgb, note = to_rgb(image, **depth, grey=grey)
        notes = tuple(text for text in (_frames(image), note) if text)
    if turn is not None:
        rgb = rgb.transpose(turn)
        if turn in _SIDEWAYS:
            width, height = height, width
    return Decoded(rgb, width, height, name, notes)


_SIDEWAYS = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


def _refuse_bombs(size: tuple[int, int], limits: DecodeLimits) -> None:
    if size[0] * size[1] > limits.max_pixels:
        raise ImageRejected(
            RejectReason.TOO_MANY_PIXELS,
            f"{size[0]:,} x {size[1]:,} pixels; the limit is {limits.max_pixels:,}",
        )


def _refuse_thumbnails(image: Any) -> None:
    """Many camera raw files are TIFFs whose first page is a small preview: not the picture to keep."""
    if image.tag_v2.get(_SUBFILE_TYPE, 0) & 1:
        raise ImageRejected(
            RejectReason.NO_DECODER,
            "the first page of this TIFF is only a preview (camera raw needs e.g. rawpy); convert it first",
        )


def _grey_range(image: ImageFile.ImageFile) -> dict[str, Any]:
    """What a TIFF says about deep grey values and Pillow does not apply: read before loading."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return {}
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
    white_is_zero = image.tag_v2.get(_PHOTOMETRIC) == 0
    return {"grey_bits": bits if 8 < bits < 16 else 16, "white_is_zero": white_is_zero}


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 if there is none or it cannot be read: a broken tag is no broken picture."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _frames(image: ImageFile.ImageFile) -> str:
    """A note about the frames that were not used; a broken second frame is no reason to refuse the first."""
    try:
        more = bool(getattr(image, "is_animated", False))
    except Exception:
        more = True
    return "the first of several frames or pages" if more else ""


def _without_metadata(data: bytes) -> bytes:
    """A PNG reduced to what its pixels need: damaged or oversized text, EXIF and profiles go."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _second_try(bare: bytes, limits: DecodeLimits, grey: Grey, first: Exception) -> Decoded:
    try:
        found = _decoded(bare, "PNG", limits, None, grey)
    except ImageRejected:
        raise
    except Exception as error:
        raise _rejected("PNG", error) from first
    return Decoded(
        found.image, found.width, found.height, found.format, (*found.notes, "metadata unreadable")
    )


def _rejected(name: str, error: Exception) -> ImageRejected:
    text = f"{name}: {error}" if str(error) else f"{name}: {type(error).__name__}"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageRejected(RejectReason.TOO_MANY_PIXELS, text)
    if _UNSUPPORTED.search(str(error)):
        return ImageRejected(RejectReason.NO_DECODER, f"{text}; convert the file first")
    return ImageRejected(RejectReason.TRUNCATED, text)

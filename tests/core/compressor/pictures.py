"""Small valid files of every readable format, made here so that a test can say what each should look like."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def gradient(width: int = 24, height: int = 16) -> Image.Image:
    """RGB, every corner different, smooth enough for lossy formats."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1)
    return Image.fromarray(np.stack([red, green, 255 - red], axis=-1).astype(np.uint8))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format, **options)
    return sink.getvalue()


def valid_files() -> dict[str, bytes]:
    """One or more files for each readable format; still and animated, plain and unusual."""
    picture = gradient()
    deep = Image.fromarray((np.arange(24 * 16).reshape(16, 24) * 170).astype(np.uint16))
    return {
        "JPEG": saved(picture, "JPEG", quality=95),
        "JPEG progressive": saved(picture, "JPEG", progressive=True),
        "JPEG CMYK": saved(picture.convert("CMYK"), "JPEG", quality=95),
        "JPEG MPO": saved(picture, "MPO", **_two_frames()),
        "PNG": saved(picture, "PNG"),
        "PNG palette": saved(picture.quantize(16), "PNG", transparency=3),
        "PNG 16 bits": saved(deep, "PNG"),
        "PNG animated": saved(picture, "PNG", **_two_frames()),
        "GIF": saved(picture.quantize(16), "GIF"),
        "GIF animated": saved(picture.quantize(16), "GIF", **_two_frames()),
        "BMP": saved(picture, "BMP"),
        "TIFF": saved(picture, "TIFF"),
        "TIFF packed": saved(picture, "TIFF", compression="tiff_lzw"),
        "TIFF pages": saved(picture, "TIFF", **_two_frames()),
        "TIFF CMYK": saved(picture.convert("CMYK"), "TIFF"),
        "WEBP": saved(picture, "WEBP", lossless=True),
        "WEBP animated": saved(picture, "WEBP", **_two_frames()),
        "JPEG2000": saved(picture, "JPEG2000"),
        "AVIF": saved(picture, "AVIF"),
        "PPM": saved(picture, "PPM"),
    }


def _two_frames() -> dict[str, Any]:
    """Save options for a second frame: the first one turned around. New each time: saving marks pictures."""
    return {"save_all": True, "append_images": [gradient().transpose(Image.Transpose.ROTATE_180)]}


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A header that promises width x height black pixels, and almost nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def with_png_chunk(png: bytes, chunk: bytes) -> bytes:
    """``png`` with ``chunk`` right after its header."""
    return png[:33] + chunk + png[33:]

"""When a photo says that it was taken: the two EXIF fields that hold it, from the header alone.

Whatever is wrong with the header, the answer is that nobody knows, which keeps a photo. Knows image files. Knows
nothing about zones or what is done with the date.
"""

from __future__ import annotations

from fwd2bot_core.compressor.decode import DecodeLimits, header

_EXIF, _TAKEN, _OFFSET = 0x8769, 0x9003, 0x9011  # the directory, DateTimeOriginal, OffsetTimeOriginal


def taken(data: bytes, limits: DecodeLimits) -> tuple[str, str | None] | None:
    """DateTimeOriginal and OffsetTimeOriginal word for word; None where there is no such date, or no such header.

    No pixel is decoded; a PNG whose EXIF stands behind its pixels says nothing here.
    """
    try:
        with header(data, limits) as image:
            if image.format != "TIFF" and "exif" not in image.info:
                return None  # Pillow would decode a whole PNG to look for it
            fields = image.getexif().get_ifd(_EXIF)
            value, offset = fields.get(_TAKEN), fields.get(_OFFSET)
            return (value, offset if isinstance(offset, str) else None) if isinstance(value, str) else None
    except Exception:  # hostile files fail in many ways, and a broken header is no broken night
        return None

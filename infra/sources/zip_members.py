"""Which photos a zip file holds, and where: its central directory. And one of them, from the bytes that lie there.

What is not believed: members that overlap, as bombs have them, sizes that are not kept, bytes with another checksum.
Knows nothing of stores.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from fwd2bot_core.errors import ImageRejected, RejectReason
from infra.objects.file_names import segment_of
from infra.sources.places import Kind, Member, Place

HEADER = 30  # bytes of a local header before its name
ROOM = 1024  # for name and extra fields; where they need more, it is read again
_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 1
_KINDS: dict[int, Kind] = {zipfile.ZIP_STORED: "s", zipfile.ZIP_DEFLATED: "d"}


def members(file: Any) -> Iterator[Member]:
    """In the order of the bytes. Raises ``ImageRejected`` for one that is damaged or has members that overlap."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = sorted((one for one in archive.infolist()), key=lambda one: one.header_offset)
            _apart(entries, int(archive.start_dir))
            for one in entries:
                if not one.is_dir():
                    yield Member(segment_of(one.filename.encode("utf-8", "surrogatepass")), _place(one))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, OverflowError, RuntimeError) as error:
        raise ImageRejected(RejectReason.NOT_AN_IMAGE, f"a zip file that cannot be read: {error}") from error


def _apart(entries: list[zipfile.ZipInfo], directory: int) -> None:
    ends = [one.header_offset for one in entries[1:]] + [directory]
    for one, end in zip(entries, ends, strict=True):
        if one.header_offset < 0 or one.header_offset + HEADER + one.compress_size > end:
            raise ImageRejected(
                RejectReason.NOT_AN_IMAGE, "a zip file whose members overlap, as bombs have them"
            )


def _place(one: zipfile.ZipInfo) -> Place:
    kind = "x" if one.flag_bits & _ENCRYPTED else _KINDS.get(one.compress_type, "x")
    return Place(kind, one.header_offset, one.compress_size, one.file_size, one.CRC)


def room(span: bytes, place: Place) -> int:
    """Bytes from the local header's beginning to the member's end. Raises ``ImageRejected`` for no such header."""
    if span[:4] != _MAGIC or len(span) < HEADER:
        raise ImageRejected(RejectReason.TRUNCATED, "no member begins where the zip file's directory says")
    return _before(span) + place.length


def content(span: bytes, place: Place) -> bytes:
    """The photo, from all its bytes and what stands before them. Raises ``ImageRejected``."""
    begin = _before(span)
    packed = span[begin : begin + place.length]
    data = packed if place.kind == "s" else _inflated(packed, place.size)
    if len(data) != place.size or zlib.crc32(data) != place.crc:
        raise ImageRejected(
            RejectReason.TRUNCATED, "a zip file's member with another size or checksum than said"
        )
    return data


def _before(span: bytes) -> int:
    """Of a local header with name and extra field: its length."""
    return HEADER + int.from_bytes(span[26:28], "little") + int.from_bytes(span[28:30], "little")


def _inflated(packed: bytes, size: int) -> bytes:
    """Never more than was said, by one byte."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise ImageRejected(
            RejectReason.TRUNCATED, f"a zip file's member that is damaged: {error}"
        ) from error

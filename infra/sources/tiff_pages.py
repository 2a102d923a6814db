"""The pages of a TIFF file, and one of them as a file of its own.

A page is the whole file whose header points to it and whose page points to no further one: the same bytes whatever
software writes them, so its sha256 stays what it is. Previews of other pages are none. Knows nothing of pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fwd2bot_core.errors import ImageRejected, RejectReason
from infra.sources.places import Member, Place

MOST_PAGES = 10_000
_SUBFILE_TYPE, _PREVIEW = 254, 1


@dataclass(frozen=True, slots=True)
class _Form:
    """How a file writes numbers: a classic one, or a BigTIFF."""

    order: str  # "<" or ">"
    first_at: int  # where the header says where the first page is
    offset: str  # of a pointer, for ``struct``
    count: str  # of the number of a page's fields
    field: int  # bytes of one
    value: int  # where a field's value stands in it


def members(file: Any, size: int) -> Iterator[Member]:
    """``page-0001`` and so on; nothing for a file of one page, which is a photo itself. Raises ``ImageRejected``."""
    found = list(_pages(file))
    if len(found) > 1:
        for number, at in enumerate(found, start=1):
            yield Member(f"page-{number:04}", Place("p", at, size, size))


def page(data: bytes, place: Place) -> bytes:
    """That page as a file of one page. Raises ``ImageRejected`` for a file that has no page there."""
    form = _form(data[:16])
    try:
        (fields,) = struct.unpack_from(form.order + form.count, data, place.start)
        own = bytearray(data)
        struct.pack_into(form.order + form.offset, own, form.first_at, place.start)
        end = place.start + struct.calcsize(form.count) + fields * form.field
        struct.pack_into(form.order + form.offset, own, end, 0)
        return bytes(own)
    except struct.error as error:
        raise ImageRejected(RejectReason.TRUNCATED, f"TIFF: {error}") from error


def _pages(file: Any) -> Iterator[int]:
    """Where the pages that are no previews begin."""
    form, seen = _form(file.read(16)), set[int]()
    at = _number(file, form, form.first_at, form.offset)
    while at:
        if at in seen or len(seen) >= MOST_PAGES:
            raise ImageRejected(RejectReason.NOT_AN_IMAGE, "a TIFF file whose pages never end")
        seen.add(at)
        fields = _number(file, form, at, form.count)
        begin = at + struct.calcsize(form.count)
        body = file.read(fields * form.field)
        if not _is_preview(form, body):
            yield at
        at = _number(file, form, begin + fields * form.field, form.offset)


def _form(head: bytes) -> _Form:
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    magic = None if order is None or len(head) < 4 else struct.unpack_from(order + "H", head, 2)[0]
    if order is None or magic not in (42, 43):
        raise ImageRejected(RejectReason.NOT_AN_IMAGE, "no TIFF file, though it is called one")
    return _Form(order, 4, "I", "H", 12, 8) if magic == 42 else _Form(order, 8, "Q", "Q", 20, 12)


def _number(file: Any, form: _Form, at: int, kind: str) -> int:
    file.seek(at)
    data = file.read(struct.calcsize(kind))
    if len(data) < struct.calcsize(kind):
        raise ImageRejected(RejectReason.TRUNCATED, "a TIFF file that ends before its pages do")
    return int(struct.unpack(form.order + kind, data)[0])


def _is_preview(form: _Form, body: bytes) -> bool:
    for at in range(0, len(body) - form.field + 1, form.field):
        (tag,) = struct.unpack_from(form.order + "H", body, at)
        if tag == _SUBFILE_TYPE:
            return bool(struct.unpack_from(form.order + "I", body, at + form.value)[0] & _PREVIEW)
    return False

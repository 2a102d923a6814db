"""Where a photo lies within a larger file, and the identity that says so.

    v:VERSION!PLACE            the container's version
    e:ETAG:SIZE!PLACE:LENGTH   its ETag and size, then the photo's own size

A place is ``s512+1000=1000``: how it is stored (s as it is, d deflated, p a page of a TIFF, x not to be read), where
it begins, how many bytes it takes there, how many it has; after a comma the CRC-32 of a zip file's member. So whoever
knows the identity reads the photo by range and needs no index. Knows texts only, no file and no store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, Self

from infra.objects import ObjectInfo

INSIDE = "!/"  # in a key, between the container's and the member's
Kind = Literal["s", "d", "p", "x"]
_PLACE = re.compile(r"([sdpx])(\d{1,18})\+(\d{1,18})=(\d{1,18})(?:,([0-9a-f]{8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of a file. ``start``: of its bytes (s), of its local header (d and a zip file's s), of its page (p)."""

    kind: Kind
    start: int
    length: int  # bytes there
    size: int  # bytes of the photo
    crc: int | None = None  # with it, a zip file's local header stands before the bytes

    def __str__(self) -> str:
        check = "" if self.crc is None else f",{self.crc:08x}"
        return f"{self.kind}{self.start}+{self.length}={self.size}{check}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = _PLACE.fullmatch(text)
        if found is None:
            return None
        kind, start, length, size, crc = found.groups()
        return cls(kind, int(start), int(length), int(size), None if crc is None else int(crc, 16))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Member:
    """A photo within a container, by the name that it has there."""

    name: str
    place: Place


def inside(container: ObjectInfo, member: Member) -> ObjectInfo:
    """A member as a listing shows it."""
    return replace(
        container,
        key=f"{container.key}{INSIDE}{member.name}",
        size=member.place.size,
        etag=f"{container.etag}:{container.size}!{member.place}",
        version=None if container.version is None else f"{container.version}!{member.place}",
    )


def parted(identity: str) -> tuple[str, Place] | None:
    """The container's identity and the place in it; None for the identity of a file of its own."""
    whole = identity if identity.startswith("v:") else identity.rpartition(":")[0]
    container, mark, text = whole.rpartition("!")
    place = Place.parse(text) if mark else None
    return None if place is None else (container, place)

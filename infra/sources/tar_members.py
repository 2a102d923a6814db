"""Which photos a tar file holds, and where: its headers, one after the other.

Names are names: none leads anywhere. Links to earlier members are these under another name; other links, devices and
sparse files are no photos. Knows nothing of stores.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any

from fwd2bot_core.errors import ImageRejected, RejectReason
from infra.objects.file_names import segment_of
from infra.sources.places import Member, Place

_BLOCK = 512


def members(file: Any) -> Iterator[Member]:
    """In the order of the file. Raises ``ImageRejected`` for one that is damaged, cut off or compressed as a whole."""
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            yield from _regular(tar)
            _ends_here(file, tar.offset)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise ImageRejected(RejectReason.NOT_AN_IMAGE, f"a tar file that cannot be read: {error}") from error


def _regular(tar: tarfile.TarFile) -> Iterator[Member]:
    there: dict[str, Place] = {}
    for info in tar:
        tar.members = []  # type: ignore[attr-defined]  # else it keeps a record of each
        if info.isreg() and not info.issparse():
            there[info.name] = Place("s", info.offset_data, info.size, info.size)
        elif not (info.islnk() and info.linkname in there):
            continue
        else:
            there[info.name] = there[info.linkname]
        yield Member(segment_of(info.name.encode("utf-8", "surrogateescape")), there[info.name])


def _ends_here(file: Any, at: int) -> None:
    """The library takes a damaged header for the end; the end is a block of zeros, or that of the file."""
    file.seek(at)
    if file.read(_BLOCK).strip(b"\0"):
        raise ImageRejected(RejectReason.NOT_AN_IMAGE, f"a tar file that is damaged at byte {at:,}")

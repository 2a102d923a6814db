"""Found images for people: a small picture of each while its original exists, and one page of them all.

Originals are read here, as they are nowhere else in search: who may see them is for the caller to say. Knows hits, and
nothing about how they were found.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fwd2bot_core.compressor.decode import decode
from fwd2bot_core.errors import (
    ImageRejected,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    SettingsError,
    StoreError,
)
from infra.archive_face import Archive
from infra.finding import Query
from infra.installation import Installation
from infra.search_hits import Found, Hit
from infra.search_scope import ALL, Filters
from tasks import page

__all__ = [
    "ALL",
    "Archive",
    "Filters",
    "Found",
    "Hit",
    "Query",
    "Thumbnail",
    "search",
    "thumbnail",
    "write_page",
]

SIDE = 256  # pixels of the longer side
READ_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG, or why there is none."""

    jpeg: bytes | None
    why_not: str = ""

    @property
    def uri(self) -> str:
        """For a page that needs nothing beside itself."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg or b'').decode()}"


def search(archive: Archive, query: Query) -> Found:
    """What an archive holds that is like what is asked for; see ``infra.finding.find``."""
    return archive.find(query)


def thumbnail(house: Installation, hit: Hit, side: int = SIDE) -> Thumbnail:
    """A small picture of exactly the version that was found; one that is gone or cannot be read says so."""
    if hit.destroyed:
        day = f" on {hit.destroyed_at:%Y-%m-%d}" if hit.destroyed_at else ""
        return Thumbnail(None, f"destroyed{day}; `fwd2bot certificate` proves it")
    try:
        data = house.originals(hit.collection).read(hit.key, identity=hit.version)
        return Thumbnail(small(data, house, side))
    except ImageRejected as error:
        return Thumbnail(None, f"cannot be shown: {error.reason}")
    except (ObjectMissing, ObjectChanged):
        return Thumbnail(None, "the original is not there any more")
    except ObjectForbidden:
        return Thumbnail(None, "the store does not let us read the original")
    except (StoreError, SettingsError) as error:
        return Thumbnail(None, f"the original cannot be read: {error}")


def small(data: bytes, house: Installation, side: int = SIDE) -> bytes:
    """A JPEG of ``side`` pixels at most, upright, without what the file says of itself. Raises ``ImageRejected``."""
    picture = decode(data, house.limits, target=(side, side)).image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=80)
    return sink.getvalue()


def write_page(house: Installation, found: Found, asked: str, file: Path) -> Path:
    """One HTML file with all hits and their pictures, which opens anywhere and asks nobody for anything."""
    shown = list(zip(found.hits, thumbnails(house, found.hits), strict=True))
    page.write_page(page.page("search.html", found=found, shown=shown, asked=asked), file)
    return file


def thumbnails(house: Installation, hits: Sequence[Hit], side: int = SIDE) -> list[Thumbnail]:
    """Of each hit, some read at once."""
    with ThreadPoolExecutor(READ_AHEAD) as readers:
        return list(readers.map(lambda hit: thumbnail(house, hit, side), hits))
